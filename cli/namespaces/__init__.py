"""Namespaces on the command line: list, delete, rebuild, compare."""
