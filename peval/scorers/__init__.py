"""Functions from answers to scores."""
