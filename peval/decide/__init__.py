"""Decisions over finished runs: comparisons across them, gates for continuous integration."""
