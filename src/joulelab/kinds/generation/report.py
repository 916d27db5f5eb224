"""The report."""

GENERATION = None
