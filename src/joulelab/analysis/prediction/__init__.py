"""Predict what a training will take, before it starts and from its beginning: pure functions.

========  ==========================================================================
module    content
========  ==========================================================================
traces    power over time: its integral, its rhythm, and where it becomes stable
step      the energy of the whole training from its beginning, with an interval (STEP)
before    the energy of a new training, from stored runs (PRE)
scores    baseline predictions, and the accuracy of predictions
========  ==========================================================================

Units are seconds, watts and joules. A time is counted from the first sample of the trace.
"""
