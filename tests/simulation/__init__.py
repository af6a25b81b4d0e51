"""The tracker's protocol against a model of log, store and crash, driven from one seed."""
