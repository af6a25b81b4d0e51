"""Tests of cli/replay."""
