"""Whapi.Cloud."""
