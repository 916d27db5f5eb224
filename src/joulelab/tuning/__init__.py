"""Choice of hyperparameters: search space and strategies.

This package does not know about networks, energy or studies.
"""
