"""Objects with all their evidence, one row each; the last stage that touches pixels."""
