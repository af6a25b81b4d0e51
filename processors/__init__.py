"""Kafka in, Kafka out: normalise raw webhooks, track the lifecycle of each message."""
