"""The instruments that come with joulelab, a file or a few for each."""
