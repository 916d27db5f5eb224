"""Published studies: their raw data, their printed numbers, and whether the two agree."""
