"""The metrics of all services: the table of families, and the registry of each service."""
