"""Tests of processors/runtime/."""
