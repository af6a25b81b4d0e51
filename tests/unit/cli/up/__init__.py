"""Tests of `cli/up/`."""
