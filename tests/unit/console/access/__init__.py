"""Tests of `console.access`."""
