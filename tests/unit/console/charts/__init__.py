"""Tests of `console.charts`."""
