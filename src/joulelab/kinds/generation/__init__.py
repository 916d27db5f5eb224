"""Generation of text: what a token costs, by model, batch, lengths and precision."""
