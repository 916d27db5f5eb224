"""What a training will take, before it and from its beginning: pure functions.

========  ==========================================================================
module    content
========  ==========================================================================
traces    power over time: its integral, its rhythm, and where it becomes stable
step      the energy of the whole from its beginning, with its interval (STEP)
before    the energy of a training that nobody has run, from stored runs (PRE)
scores    simpler predictions to be beaten, and how good predictions were
========  ==========================================================================

Units are seconds, watts and joules. A time is counted from the first sample of the trace.
"""
