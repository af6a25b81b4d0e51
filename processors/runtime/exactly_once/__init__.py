"""What processors with exactly-once transactions share: a task for each partition."""
