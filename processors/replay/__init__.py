"""Replays of ranges of the raw topics, and retries of dead letters."""
