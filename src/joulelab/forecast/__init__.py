"""Predict what a training will take: while it runs, and beforehand from stored runs.

=================  =================================================================================
module             content
=================  =================================================================================
tracking           `joulelab.track`, around the iterable of a loop, with a line of progress
following          steps that are measured, predicted and stopped at a budget
training_forecast  `joulelab.TrainingForecast`, around the loop over the epochs
progress           progress of a training by epoch, and the prediction from it
outcome            one prediction, and all of them compared with the result
training_request   a requested training, and its features known beforehand
hardware           the hardware of a training, and its specified power
history            the user's stored runs, from results folders, by hardware
before             one training, from stored runs and by two formulas
study_history      a whole study, from stored runs
=================  =================================================================================
"""
