"""Tests of bench/peers/."""
