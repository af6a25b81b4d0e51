"""Webhooks on their way to Kafka: batches of each raw topic, and the producer that sends them."""
