"""Benchmarks on a real Kafka: `python -m bench --help`."""
