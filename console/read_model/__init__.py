"""The read model: what the console shows, kept in SQLite or PostgreSQL, derived from the topics."""
