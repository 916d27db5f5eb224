"""The shipped kinds of experiment: a module each, and what trainings, and inference, share."""
