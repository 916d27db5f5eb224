"""Training: data sets, networks, protocols, engines.

This package does not know about energy, tuning or studies.
"""
