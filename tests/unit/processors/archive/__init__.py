"""Tests of processors/archive/."""
