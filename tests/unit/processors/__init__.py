"""Tests of processors/."""
