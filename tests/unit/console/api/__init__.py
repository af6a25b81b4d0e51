"""Tests of console/api/."""
