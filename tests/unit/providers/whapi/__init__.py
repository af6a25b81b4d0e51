"""Tests of providers/whapi/."""
