"""Tests of `cli/forget/`."""
