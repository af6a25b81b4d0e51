"""What runs Bluetick: a real Kafka on one machine, the topics, child processes."""
