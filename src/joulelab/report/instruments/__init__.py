"""Several instruments on the runs of a study: what each reads, and how far they agree."""
