"""The commands, a file a group, each a few lines long: it imports what it uses when it runs."""
