"""Sources: which senders may post webhooks, how each proves itself, from which addresses."""
