"""The commands, one file per group; each imports its code when it runs."""
