"""Inference: arrivals of requests, the queue, batching policies, the server, and the planner.

This package does not know about energy, learning or studies; processes exchange plain data.
"""
