"""Tests of cli/quality/."""
