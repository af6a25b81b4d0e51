"""All of Bluetick on one machine, and its demo."""
