"""The shell around the pure code: it polls, sends, commits, and reports health and metrics."""
