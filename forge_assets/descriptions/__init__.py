"""Phrases of a vision-language model, each with what the same model finds when it is asked for them."""
