"""The command ``joulelab``: thin commands over study, analysis and report.

Data goes to standard output, progress and errors to standard error. Exit codes: 0 done; 1 error;
2 wrong usage or study file; 3 some runs failed; 4 done, but a validity check failed; 130
interrupted. Nothing heavy is imported before a command needs it.
"""

from joulelab.cli.app import main

__all__ = ["main"]
