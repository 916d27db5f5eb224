"""The built-in meters, one or a few modules each."""
