"""Tests of cli/namespaces/."""
