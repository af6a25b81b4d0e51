"""What other services may rely on: records, topics, codec, settings."""
