"""Tests of processors/normalising/."""
