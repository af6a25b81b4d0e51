"""`bluetick forget`: delete the states of a person's messages, and name the data that stays."""
