"""Photos, checked and kept as they came."""
