"""The command line: run everything, demo, send, tail, parse, operate."""
