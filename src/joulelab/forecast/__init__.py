"""What a training will take: while it runs, and from the user's own stored runs before it does.

=================  =================================================================================
module             content
=================  =================================================================================
training_forecast  `joulelab.TrainingForecast`, around the loop over the epochs
progress           what has been seen of a training, epoch by epoch, and what follows from it
energy_curve       energy over time, of all that counts together
epoch_lengths      how long the epochs to come will take
outcome            one prediction, and all of them beside what the training took
=================  =================================================================================
"""
