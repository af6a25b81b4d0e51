"""The tracker's protocol on a model of log, store and crash; one seed determines one schedule."""
