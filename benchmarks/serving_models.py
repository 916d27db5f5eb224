"""Models that cost next to nothing, or a known time: what is measured beside them is the queue."""

from __future__ import annotations

import time

import torch
from torch import Tensor, nn

_SIDE = 128


class Null(nn.Module):
    """Gives back what it gets, the first time after a while, so that the queue can fill.

    Args:
        first_s: how long that takes, in seconds.
    """

    def __init__(self, first_s: float = 0.0) -> None:
        super().__init__()
        self._first_s = first_s

    def forward(self, images: Tensor) -> Tensor:
        """The images."""
        if self._first_s:
            time.sleep(self._first_s)
            self._first_s = 0.0
        return images


class Busy(nn.Module):
    """Multiplies matrices for a while.

    Args:
        batch_s: how long each batch takes, in seconds.
    """

    def __init__(self, batch_s: float) -> None:
        super().__init__()
        self._batch_s = batch_s
        self._matrix = torch.rand(_SIDE, _SIDE)

    def forward(self, images: Tensor) -> Tensor:
        """The images, later."""
        until_s = time.monotonic() + self._batch_s
        while time.monotonic() < until_s:
            self._matrix @ self._matrix
        return images
