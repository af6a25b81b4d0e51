"""Running Bluetick: a real Kafka on one machine, and the files for containers."""
