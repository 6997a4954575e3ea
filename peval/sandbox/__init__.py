"""Verdicts on programs that nobody trusts, computed where those programs never run."""
