"""A telecom with known truth."""
