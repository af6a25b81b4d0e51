"""Tests of ingest/publishing/."""
