"""Tests of cli/output/."""
