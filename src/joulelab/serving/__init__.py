"""Inference: arrivals of requests, the queue, batching policies, the server, and the planner.

This room knows nothing of energy, learning or studies; what goes between processes is plain data.
"""
