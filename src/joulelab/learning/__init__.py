"""What is trained and how: data sets, networks, protocols, engines.

This room knows nothing of energy, tuning or studies.
"""
