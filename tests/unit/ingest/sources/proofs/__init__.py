"""Tests of ingest/sources/proofs/."""
