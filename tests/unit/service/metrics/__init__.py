"""Tests of service/metrics/."""
