"""Searches over trainings: which strategy reaches an accuracy with the fewest joules?"""
