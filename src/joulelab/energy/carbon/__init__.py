"""Carbon dioxide equivalent of energy: intensity of places and over time, footprints."""
