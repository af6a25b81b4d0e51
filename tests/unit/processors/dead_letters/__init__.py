"""Tests of processors/dead_letters/."""
