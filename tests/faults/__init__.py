"""Tests on a real Kafka behind a proxy that does what networks do."""
