"""Power traces in files: written, recorded live, read, measured."""
