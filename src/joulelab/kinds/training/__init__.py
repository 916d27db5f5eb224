"""Runs that train: their keys of a study file, jobs, engines, prediction, and the workload."""
