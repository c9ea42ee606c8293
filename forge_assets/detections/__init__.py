"""Objects: boxes of the photo and its mirror, keypoints, human labels."""
