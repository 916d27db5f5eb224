"""Tables, figures and findings of comparisons over the years."""
