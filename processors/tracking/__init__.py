"""Tracking: observations to states, statuses, events and inbound messages, exactly once."""
