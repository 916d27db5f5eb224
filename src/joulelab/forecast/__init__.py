"""What a training will take: while it runs, and from the user's own stored runs before it does.

=================  =================================================================================
module             content
=================  =================================================================================
training_forecast  `joulelab.TrainingForecast`, around the loop over the epochs
progress           what has been seen of a training, epoch by epoch, and what follows from it
outcome            one prediction, and all of them beside what the training took
training_request   a training as it is asked for, and the features that are known beforehand
hardware           what a training runs on, and its power by the data sheet
history            the user's stored runs, read from results folders, and those of one hardware
before             one training, from stored runs and by two formulas
study_history      a whole study, from stored runs
=================  =================================================================================
"""
