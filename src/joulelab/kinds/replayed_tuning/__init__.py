"""Searches replayed on recorded trials: which strategy is best, known in seconds at no energy."""
