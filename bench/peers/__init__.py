"""What a user would take instead of Bluetick, measured on the same job with the same outputs."""
