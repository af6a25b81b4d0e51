"""The console: what a person looks at, and the JSON API with the same queries."""
