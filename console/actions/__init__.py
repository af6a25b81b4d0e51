"""What a person starts from a page: retries and replays, with their progress."""
