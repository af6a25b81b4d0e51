"""How senders prove themselves: the contract, a module for each kind, and their list."""
