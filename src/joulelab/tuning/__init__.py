"""How the next hyperparameters are chosen: search space and strategies.

This room knows nothing of networks, energy or studies.
"""
