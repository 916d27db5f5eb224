"""What a training will take, before it and from its beginning: pure functions.

==================  ================================================================================
module              content
==================  ================================================================================
traces              samples of power: their integral, and their means over bins
rhythm              how long is an epoch, as the power shows it?
stable_point        from where on does a training draw what it will go on drawing?
phase_change        the change of level that a training may still have before it
mixture             the interval of what is one of several things
step                the energy of the whole, with its interval (STEP)
baselines           simpler predictions, to be beaten
grouped_regression  ridge and kernel ridge, with the errors of groups never seen
stored_runs         stored runs as a table to learn from
before              the energy of a training that nobody has run, from stored runs (PRE)
scores              how good were predictions?
hindsight           how good were predictions with ranges?
==================  ================================================================================

Units are seconds, watts and joules. A time is counted from the first sample of the trace.
"""
