"""Placement of images during training.

::

    resident         float32 in [0, 1] on the device; a batch is one indexing operation
    resident-uint8   uint8 on the device, a quarter of the memory; each batch is scaled there
    streamed         uint8 in host memory; each batch is copied to the device and scaled there

The first that fits is used. It fits if all images, training and test, take at most `RESIDENT_SHARE`
of the memory that is free on the device; the rest is for the network, its gradients and
activations. On the CPU the device's memory is the host's: nothing is streamed. All three give the
network the same numbers.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from enum import StrEnum

import psutil
import torch
from torch import Tensor

from joulelab.learning.images import Images, Split

RESIDENT_SHARE = 0.5
"""Share of the free memory of a device that images may take."""

_FLOAT32_BYTES = 4
_WHITE = 255

log = logging.getLogger("joulelab")


class Placement(StrEnum):
    """Location and type of the images."""

    RESIDENT = "resident"
    RESIDENT_UINT8 = "resident-uint8"
    STREAMED = "streamed"


@dataclass(frozen=True)
class PlacedSplit:
    """Images and labels of one part of a data set, ready for batches.

    Attributes:
        images: (N, C, H, W), float32 in [0, 1] or uint8, on the device or in host memory.
        labels: (N,), int64, in the same place as the images.
        device: the one that trains.
    """

    images: Tensor
    labels: Tensor
    device: torch.device

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def index_device(self) -> torch.device:
        """Where the rows of a batch must be."""
        return self.images.device

    def batch(self, rows: Tensor | slice) -> tuple[Tensor, Tensor]:
        """Images (batch, C, H, W), float32 in [0, 1], and labels (batch,), on the device."""
        images = sent(self.images[rows], self.device)
        return scaled(images), sent(self.labels[rows], self.device)


@dataclass(frozen=True)
class PlacedImages:
    """A data set on (or for) a device."""

    images: Images
    device: torch.device
    placement: Placement
    train: PlacedSplit
    test: PlacedSplit


def place_images(
    images: Images, device: torch.device, placement: Placement | None = None
) -> PlacedImages:
    """Place a data set where it fits best, and log the placement.

    Args:
        images: the data set, uint8 in host memory.
        device: the one that trains.
        placement: the placement; ``None`` for the first that fits.
    """
    values = images.train.images.numel() + images.test.images.numel()
    if placement is None:
        placement = choose_placement(values, free_memory(device), host=device.type == "cpu")
    level = logging.WARNING if placement is Placement.STREAMED else logging.INFO
    log.log(level, "%s: %.3g MB as uint8, %s on %s", images.name, values / 1e6, placement, device)
    return PlacedImages(
        images,
        device,
        placement,
        place_split(images.train, device, placement),
        place_split(images.test, device, placement),
    )


class Shelf:
    """Keeps the last data set on its device between trainings.

    Args:
        placement: the placement; ``None`` for the first that fits (see `place_images`).
    """

    def __init__(self, placement: Placement | None = None) -> None:
        self._placement = placement
        self._placed: PlacedImages | None = None

    def place(self, images: Images, device: torch.device) -> PlacedImages:
        """The images on the device; placed only if they differ from the last."""
        held = self._placed
        if held is None or held.images is not images or held.device != device:
            held = self._placed = None  # free memory before checking how much is available
            held = self._placed = place_images(images, device, self._placement)
        return held


def choose_placement(values: int, free_bytes: int, *, host: bool) -> Placement:
    """The first placement that fits.

    Args:
        values: pixels x channels x images of training and test part together.
        free_bytes: on the device.
        host: the device is the CPU, and uint8 takes no further memory there.
    """
    room = free_bytes * RESIDENT_SHARE
    if values * _FLOAT32_BYTES <= room:
        return Placement.RESIDENT
    if host or values <= room:
        return Placement.RESIDENT_UINT8
    return Placement.STREAMED


def free_memory(device: torch.device) -> int:
    """Bytes that can still be allocated on a device."""
    if device.type == "cpu":
        return int(psutil.virtual_memory().available)
    free, _ = torch.cuda.mem_get_info(device)
    # torch caches freed blocks, which the driver counts as used.
    return free + torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)


def sent(tensor: Tensor, device: torch.device) -> Tensor:
    """A tensor on a device; from pinned memory the copy overlaps with computation."""
    if tensor.device == device:
        return tensor
    return tensor.pin_memory().to(device, non_blocking=True)


def synchronize(device: torch.device) -> None:
    """Wait until a device has finished all work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def scaled(images: Tensor) -> Tensor:
    """Images as float32 in [0, 1]; uint8 is divided by 255."""
    if images.dtype == torch.uint8:
        return images.to(torch.float32).div_(_WHITE)
    return images


def place_split(split: Split, device: torch.device, placement: Placement) -> PlacedSplit:
    """Place one part of a data set."""
    if placement is Placement.STREAMED:
        return PlacedSplit(split.images, split.labels, device)
    images = split.images.to(device)
    if placement is Placement.RESIDENT:
        images = scaled(images)
    return PlacedSplit(images, split.labels.to(device), device)
