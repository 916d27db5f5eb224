"""Which part of a program costs most: energy by function and by phase, from sampled stacks."""
