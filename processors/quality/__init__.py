"""Delivery quality: states of messages to figures by route and time, exactly once."""
