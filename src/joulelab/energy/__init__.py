"""Energy measurement: meters, the recorder thread, windows, idle power.

This package does not know about training or studies and never imports torch.
"""
