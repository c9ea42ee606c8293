"""What leaves the lake: training files, photos, the gallery."""
