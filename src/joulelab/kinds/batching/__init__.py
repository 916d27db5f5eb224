"""Tables, figures and sentences of experiments on batching."""
