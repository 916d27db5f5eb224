"""Language models in the server process: prefill, decoding, and whole generations."""
