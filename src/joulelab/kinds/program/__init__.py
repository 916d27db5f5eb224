"""Commands and functions of the user as experiments: factors x repetitions of what they run."""
