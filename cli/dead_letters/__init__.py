"""Dead letters on the command line: list, show, export, retry."""
