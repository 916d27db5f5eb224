"""Runs that answer requests: their images, jobs, executor, prediction, and the workload."""
