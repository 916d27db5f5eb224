"""Live pages: a study while it runs, and power while it is watched, in a browser."""
