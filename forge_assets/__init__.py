"""What is made: one folder a stage, data walking one way."""
