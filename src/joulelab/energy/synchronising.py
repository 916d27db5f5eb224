"""A GPU works on after the call that gave it its work; a window waits for it at both edges."""

from __future__ import annotations

import sys


def synchronised() -> list[str]:
    """Wait until the GPU has finished torch's work; returns an error message, if any.

    torch is not imported for this: if it is not imported, it has no work on a GPU.
    """
    torch = sys.modules.get("torch")
    cuda = getattr(torch, "cuda", None)
    if torch is None or cuda is None:
        return []
    try:
        if cuda.is_initialized():
            for index in range(cuda.device_count()):
                # Synchronising an unused device would create a context on it.
                if index == cuda.current_device() or cuda.memory_reserved(index):
                    cuda.synchronize(index)
        mps = getattr(torch, "mps", None)
        if mps is not None and torch.backends.mps.is_available():
            mps.synchronize()
    except Exception as error:  # an error in the user's kernel shows up here first
        return [f"the device could not be synchronised: {str(error).partition(chr(10))[0]}"]
    return []
