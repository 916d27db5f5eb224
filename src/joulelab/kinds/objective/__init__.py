"""Functions of the user that are tuned: `joulelab.tune`, and the kind ``objective``."""
