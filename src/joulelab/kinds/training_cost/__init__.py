"""Tables, figures and findings of the cost of training, by network, base and data set."""
