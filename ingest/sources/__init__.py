"""Sources: the senders that may post webhooks, their proofs and their addresses."""
