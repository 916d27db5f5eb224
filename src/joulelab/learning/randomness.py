"""Where the randomness of a training comes from: everything follows from the seed of a repetition.

Initial weights, and whatever a network draws while it is trained (dropout), come from torch's
global generators, seeded for the time of the training and put back afterwards. Weights are drawn
on the CPU, so that they do not depend on the device. The order of the images comes from a generator
of its own, so that it does not depend on the network.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor


@contextmanager
def seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Seed torch's generators of the CPU and of one device; on leaving they are as before.

    Args:
        seed: of the repetition, at least 0.
        device: the one that trains; generators of other devices are not touched.
    """
    on_cuda = device.type == "cuda"
    with torch.random.fork_rng(devices=[device] if on_cuda else []):
        # torch.manual_seed would seed every device of the machine, also those not saved above.
        torch.default_generator.manual_seed(seed)
        if on_cuda:
            with torch.cuda.device(device):
                torch.cuda.manual_seed(seed)
        yield


class ImageOrder:
    """The mini-batches of each epoch.

    Args:
        images: N, how many there are.
        batch_size: images in a batch; the last one of an epoch may be smaller.
        seed: of the repetition.
        reshuffle_each_epoch: a new order for every epoch; else the batches of the first are reused.
    """

    def __init__(
        self, images: int, batch_size: int, seed: int, *, reshuffle_each_epoch: bool
    ) -> None:
        self._images = images
        self._batch_size = batch_size
        self._reshuffle = reshuffle_each_epoch
        # The plain seed also seeds the initial weights: the two must not be the same numbers.
        digest = hashlib.sha256(f"order of images, seed {seed}".encode()).digest()
        self._generator = torch.Generator().manual_seed(int.from_bytes(digest[:7]))
        self._order: Tensor | None = None

    def next_order(self) -> Tensor:
        """The rows of all images in the order of the next epoch, int64, (images,), on the CPU."""
        if self._order is None or self._reshuffle:
            self._order = torch.randperm(self._images, generator=self._generator)
        return self._order

    def next_epoch(self, device: torch.device) -> tuple[Tensor, ...]:
        """The rows of each batch, int64, (batch_size,), on the device that is indexed."""
        return torch.split(self.next_order().to(device), self._batch_size)
