"""What a training will take: while it runs, and from the user's own stored runs before it does.

=================  =================================================================================
module             content
=================  =================================================================================
training_forecast  `joulelab.TrainingForecast`, around the loop over the epochs
progress           what has been seen of a training, epoch by epoch, and what follows from it
energy_curve       energy over time, of all that counts together
epoch_lengths      how long the epochs to come will take
outcome            one prediction, and all of them beside what the training took
training_request   a training as it is asked for, and the features that are known beforehand
data_shape         how many images a data set has, and of which shape
study_requests     the trainings that a study file asks for
hardware           what a training runs on, as far as its energy depends on it
history            the user's stored runs, and those of one hardware
history_reading    reading them from results folders
design_power       the power of a device by its data sheet
before             one training, from stored runs and by two formulas
study_history      a whole study, from stored runs
=================  =================================================================================
"""
