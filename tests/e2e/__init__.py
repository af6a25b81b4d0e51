"""The whole, as a person meets it: the real command line, real processes, real sockets."""
