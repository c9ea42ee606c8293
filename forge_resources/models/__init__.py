"""Networks behind one interface a role, and where their weights come from."""
