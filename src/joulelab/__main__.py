"""``python -m joulelab``."""

from joulelab.cli import main

main()
