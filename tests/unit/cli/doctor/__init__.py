"""Tests of cli/doctor/."""
