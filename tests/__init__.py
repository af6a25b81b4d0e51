"""Tests: pure code in unit/, a real Kafka in broker/, the real command line in e2e/."""

from pathlib import Path

HOME = Path(__file__).parents[1]  # of the checkout
