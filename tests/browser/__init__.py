"""The console in a real browser, over the data of a running pipeline."""
