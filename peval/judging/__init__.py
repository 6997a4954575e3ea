"""Judges as data, their questions and verdicts, and what verdicts amount to. Asks nobody."""
