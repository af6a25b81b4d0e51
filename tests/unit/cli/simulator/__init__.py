"""Tests of cli/simulator/."""
