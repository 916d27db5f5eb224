"""The planner: which batching policy to run, from measured costs, by simulation."""
