"""Tables, figures and sentences of comparisons over the years."""
