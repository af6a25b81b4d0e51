"""An invented provider: a test adds it to a copy of the source and runs it."""
