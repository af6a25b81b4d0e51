"""Tests of cli/contracts."""
