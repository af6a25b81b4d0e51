"""Serving HTTP: the server, its connections and their bounds."""
