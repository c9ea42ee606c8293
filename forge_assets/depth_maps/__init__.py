"""Dense depth readings of every photo, stored small."""
