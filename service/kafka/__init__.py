"""Kafka clients: connections, assignment of partitions, clocks, administration."""
