"""Tables, figures and sentences of what training costs, by network, base and data set."""
