"""The shell around the pure code: polls, sends, commits, stores, tells how it fares."""
