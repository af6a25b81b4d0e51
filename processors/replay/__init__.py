"""Replays: a range of the raw topics published again, and dead letters tried again."""
