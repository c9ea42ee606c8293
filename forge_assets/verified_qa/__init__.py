"""Rules that candidates must pass, and what becomes of those that do not."""
