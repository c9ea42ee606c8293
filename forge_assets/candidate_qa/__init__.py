"""Candidate pairs: six tasks, one module each, over the table of scenes."""
