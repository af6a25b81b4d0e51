"""Tests of processors/replay/."""
