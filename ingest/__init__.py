"""HTTP in, Kafka out: every webhook body, byte for byte, durable before it is answered."""
