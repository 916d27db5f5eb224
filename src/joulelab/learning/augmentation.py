"""Random rotations, shifts and flips of training images, on the device that trains.

Each image of each epoch has its own affine map from the pixels of the new image to those of the old
one, in pixels from the middle of the image:

    old = R(angle) (F new + t),    angle ~ U(-a, a),  t ~ U(-s, s) * (W, H),  F = 1 or a flip

with a the largest rotation, s the largest shift as a share of the side, and a flip from left to
right with probability one half. `affine_grid` wants the map in units of half a side, x first: with
D = diag(W/2, H/2) it is D^-1 R D F, and D^-1 R D (2 t / (W, H)). Values between pixels are
interpolated bilinearly; outside the image its nearest pixel is repeated, as with Keras'
``fill_mode="nearest"``.

Random numbers are drawn on the host, for a whole epoch at once, from a separate generator seeded by
the repetition: all devices draw the same, and augmentation does not change initial weights and
order of images.
"""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Augmentation:
    """The range of random changes of images.

    Attributes:
        rotation_deg: a, rotation to either side, in degrees.
        shift: s, in both directions, as a share of the side.
        horizontal_flip: whether half of the images are mirrored, left to right.
    """

    rotation_deg: float = 0.0
    shift: float = 0.0
    horizontal_flip: bool = False


OF_PROTOCOL = "protocol"
"""Name of whatever augmentation the protocol has."""
AUGMENTATIONS = {
    "none": None,
    "flip": Augmentation(horizontal_flip=True),
    "xu2023": Augmentation(rotation_deg=15, shift=0.1, horizontal_flip=True),
}
"""By name."""


class AugmentationDraws:
    """The changes of every image in each epoch.

    Args:
        augmentation: how far images are changed.
        images: N, in an epoch.
        size: height and width of an image in pixels.
        seed: of the repetition.
    """

    def __init__(
        self, augmentation: Augmentation, images: int, size: tuple[int, int], seed: int
    ) -> None:
        import torch

        self._augmentation = augmentation
        self._images = images
        self._size = size
        # Different from the seeds of the initial weights and of the order.
        digest = hashlib.sha256(f"augmentation, seed {seed}".encode()).digest()
        self._generator = torch.Generator().manual_seed(int.from_bytes(digest[:7]))

    def next_epoch(self) -> Tensor:
        """Maps for the images of the next epoch, in the order in which they are trained on.

        Returns:
            (N, 2, 3), float32, on the CPU, for `augmented`.
        """
        import torch

        drawn = torch.rand(self._images, 4, generator=self._generator, dtype=torch.float64)
        symmetric = 2 * drawn - 1  # U(-1, 1)
        return affine_maps(
            symmetric[:, 0] * math.radians(self._augmentation.rotation_deg),
            symmetric[:, 1:3] * self._augmentation.shift,
            (drawn[:, 3] < 0.5) & self._augmentation.horizontal_flip,  # noqa: PLR2004 - one half
            self._size,
        )


def affine_maps(angles: Tensor, shifts: Tensor, flips: Tensor, size: tuple[int, int]) -> Tensor:
    """Affine maps for `torch.nn.functional.affine_grid`.

    Args:
        angles: (N,), in radians.
        shifts: (N, 2), right and down, as shares of width and height.
        flips: (N,), bool.
        size: height and width of an image in pixels.

    Returns:
        (N, 2, 3), float32.
    """
    import torch

    height, width = size
    cos, sin = torch.cos(angles), torch.sin(angles)
    # D^-1 R D: a rotation in pixels, which in units of half a side also stretches.
    turn = torch.stack([cos, -sin * height / width, sin * width / height, cos], 1).view(-1, 2, 2)
    offset = turn @ (2 * shifts).unsqueeze(2)  # (N, 2, 1)
    mirror = torch.ones_like(shifts)
    mirror[:, 0] = torch.where(flips, -1.0, 1.0)
    return torch.cat([turn * mirror.unsqueeze(1), offset], 2).to(torch.float32)


def augmented(images: Tensor, maps: Tensor) -> Tensor:
    """Images changed by affine maps.

    Args:
        images: (B, C, H, W), float32.
        maps: (B, 2, 3), on the device of the images.
    """
    from torch.nn.functional import affine_grid, grid_sample

    grid = affine_grid(maps, list(images.shape), align_corners=False)  # (B, H, W, 2)
    return grid_sample(images, grid, mode="bilinear", padding_mode="border", align_corners=False)
