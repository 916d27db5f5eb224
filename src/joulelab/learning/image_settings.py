"""Settings of any data set, after a question mark: ``digits?channels=3&side=32``.

``channels``
    1 or 3. Grey becomes colour by repeating its channel; colour becomes grey by the luminance of
    ITU-R BT.601, L = 0.299 R + 0.587 G + 0.114 B, rounded, as Pillow has it.
``side``
    Height and width in pixels: bilinear, with antialiasing where images shrink. Images that are
    not square become so.

Images are changed once, when the data set is loaded, and stay uint8. Other settings are left to
the data set, where its name has an argument: ``folder:birds?size=64&channels=3``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import psutil

from joulelab.errors import DatasetError, UsageError, quoted, suggestion

if TYPE_CHECKING:
    from torch import Tensor

SETTINGS = ("channels", "side")
GREY, COLOUR = 1, 3
# 0.299, 0.587 and 0.114 in units of 2^-16.
_LUMINANCE = (19595, 38470, 7471)
_CHUNK = 1000
_GB = 1e9


@dataclass(frozen=True)
class ImageSettings:
    """What the images of a data set are made into; ``None`` leaves them as they are.

    Attributes:
        channels: 1 or 3.
        side: height and width in pixels.
    """

    channels: int | None = None
    side: int | None = None

    @property
    def words(self) -> str:
        """``3 channels, 32x32``; empty where nothing is changed."""
        said = []
        if self.channels is not None:
            said.append(f"{self.channels} channel{'s' * (self.channels != 1)}")
        if self.side is not None:
            said.append(f"{self.side}x{self.side}")
        return ", ".join(said)

    def of(self, images: Tensor) -> Tensor:
        """Images with these settings; the same tensor where they have them already.

        Args:
            images: (N, C, H, W), uint8.

        Raises:
            UsageError: images of neither 1 nor 3 channels, where another number is asked for.
            DatasetError: they would not fit into this machine's memory.
        """
        self._check_memory(images)
        grey = self.channels == GREY and images.shape[1] == COLOUR
        if grey:
            images = _luminance(images)
        if self.side is not None and images.shape[2:] != (self.side, self.side):
            images = _resized(images, self.side)
        if self.channels in (None, images.shape[1]):
            return images
        if images.shape[1] != GREY:
            raise UsageError(
                f"images of {images.shape[1]} channels cannot get {self.channels}",
                "leave the setting channels out",
            )
        return images.repeat(1, self.channels, 1, 1)

    def _check_memory(self, images: Tensor) -> None:
        count, channels, height, width = images.shape
        pixels = height * width if self.side is None else self.side**2
        needed = count * (self.channels or channels) * pixels
        free = psutil.virtual_memory().available
        if needed > free:
            raise DatasetError(
                f"{count:,} images of {self.words} take {needed / _GB:.1f} GB, and "
                f"{free / _GB:.1f} GB are free",
                "choose a smaller side",
            )


def split_settings(name: str) -> tuple[str, ImageSettings]:
    """Part the name of a data set from the settings that all data sets have.

    Args:
        name: for instance ``digits?channels=3&side=32``.

    Returns:
        The name as its loader takes it, and the settings.

    Raises:
        UsageError: an unknown setting, one given twice, or an impossible value.

    >>> split_settings("digits?channels=3&side=32")
    ('digits', ImageSettings(channels=3, side=32))
    >>> split_settings("folder:birds?size=64&channels=1")
    ('folder:birds?size=64', ImageSettings(channels=1, side=None))
    """
    base, mark, query = name.rpartition("?")
    if not mark:
        return name, ImageSettings()
    values: dict[str, int] = {}
    others = []
    for pair in query.split("&"):
        key, _, value = pair.partition("=")
        if key not in SETTINGS:
            others.append(pair)
        elif key in values:
            raise UsageError(f"{key} stands twice in {quoted(name)}", "give each setting once")
        else:
            values[key] = _checked(name, key, value)
    if others and ":" not in base:
        raise UsageError(
            f"the data set {base} has no setting {quoted(others[0].partition('=')[0])}",
            suggestion(others[0].partition("=")[0], SETTINGS),
        )
    rest = f"{base}?{'&'.join(others)}" if others else base
    return rest, ImageSettings(values.get("channels"), values.get("side"))


def _checked(name: str, key: str, value: str) -> int:
    number = int(value) if value.isascii() and value.isdigit() else 0
    if key == "channels" and number not in (GREY, COLOUR):
        raise UsageError(
            f"channels = {quoted(value)} in {quoted(name)} is not possible", "channels is 1 or 3"
        )
    if number < 1:
        raise UsageError(
            f"{key} = {quoted(value)} in {quoted(name)} is not possible",
            f"{key} is a number of pixels: ?{key}=32",
        )
    return number


def _luminance(images: Tensor) -> Tensor:
    """(N, 3, H, W) to (N, 1, H, W), uint8; in whole numbers, the same everywhere."""
    import torch

    weights = torch.tensor(_LUMINANCE, dtype=torch.int32).view(1, COLOUR, 1, 1)
    half = 1 << 15
    chunks = [
        ((chunk.int() * weights).sum(1, keepdim=True, dtype=torch.int32) + half) >> 16
        for chunk in torch.split(images, _CHUNK)
    ]
    return torch.cat([chunk.to(torch.uint8) for chunk in chunks])


def _resized(images: Tensor, side: int) -> Tensor:
    """(N, C, H, W) to (N, C, side, side), uint8."""
    import torch
    from torch.nn.functional import interpolate

    resized = images.new_empty(*images.shape[:2], side, side)
    for start in range(0, len(images), _CHUNK):
        chunk = images[start : start + _CHUNK].to(torch.float32)
        values = interpolate(
            chunk, size=(side, side), mode="bilinear", align_corners=False, antialias=True
        )
        resized[start : start + _CHUNK] = values.round_().clamp_(0, 255).to(torch.uint8)
    return resized
