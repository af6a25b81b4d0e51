"""Tests of ingest/spool/."""
