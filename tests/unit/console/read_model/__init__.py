"""Tests of console/read_model/."""
