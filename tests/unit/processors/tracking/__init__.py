"""Tests of processors/tracking/."""
