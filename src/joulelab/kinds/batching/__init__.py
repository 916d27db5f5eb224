"""Tables, figures and findings of batching experiments."""
