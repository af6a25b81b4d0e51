"""Tests of processors/quality/."""
