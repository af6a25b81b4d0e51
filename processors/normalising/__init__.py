"""Normalising: raw bodies to observations, dead letters and counts."""
