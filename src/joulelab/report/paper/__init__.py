"""The tables and figures of the paper, from any study, at the size of publication."""
