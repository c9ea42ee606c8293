"""What a vision-language model answers to a sample of the verified questions."""
