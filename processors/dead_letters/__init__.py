"""Dead letters: their records, and the limits on how many a source may cause."""
