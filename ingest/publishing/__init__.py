"""Sending webhooks to Kafka: the batches of each raw topic, and the producer that sends them."""
