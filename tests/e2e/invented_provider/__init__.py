"""A provider that no vendor offers: a test adds it to a copy of the source and runs it."""
