"""Tests: unit (pure), broker (a real Kafka), e2e (the real command line)."""
