"""Tests of cli/up/."""
