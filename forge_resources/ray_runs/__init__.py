"""Dagster runs on a Ray cluster, in worker processes that stay: imports and networks are loaded once for many runs."""
