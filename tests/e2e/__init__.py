"""End to end: the real command line, real processes, real sockets."""
