"""How joules are read: meters, the recorder thread, windows, idle power.

This room knows nothing of training or of studies and never imports torch.
"""
