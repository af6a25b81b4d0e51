"""Benchmarks of the tracker on a real Kafka: `python -m bench --help`."""
