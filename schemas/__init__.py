"""The published contract for other services: records, topics, headers, codec, bounds."""
