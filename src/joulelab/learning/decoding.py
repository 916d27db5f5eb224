"""Decode image files, or their bytes, to one tensor per data set.

Grey images become one channel, all others red, green and blue; a data set that has both becomes RGB
as a whole. All images must have the same size, or be resized: ``folder:birds?size=32``.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from joulelab.errors import DatasetError, UsageError, one_line, quoted, suggestion
from joulelab.image_limit import TOO_LARGE, large_images_refused
from joulelab.learning.images import SETTINGS, Images, Split

_CHUNK = 64
_WORTH_A_THREAD = 64 * 64
_GREY = ("1", "L", "LA")
_WIDE = ("I", "F")
_RGB_CHANNELS = 3


class EncodedPart(ABC):
    """The training or test part before its images are decoded.

    Attributes:
        labels: one for each image, from 0.
    """

    labels: Sequence[int]

    @abstractmethod
    def open_image(self, row: int) -> Image.Image:
        """One image; a damaged file may raise any exception."""

    @abstractmethod
    def place(self, row: int) -> str:
        """Name of an image in messages: a file, or a row of a file."""


def split_size(argument: str) -> tuple[str, int | None]:
    """Split the argument of a data set at ``?size=``: ``("birds", 32)`` from ``birds?size=32``.

    Raises:
        UsageError: the question mark is not followed by a size of at least 1.
    """
    base, mark, option = argument.rpartition("?")
    if not mark:
        return argument, None
    name, _, value = option.partition("=")
    if name != "size" or not value.isascii() or not value.isdigit() or int(value) == 0:
        raise UsageError(
            f"{quoted(option)} after the data set {quoted(base)} is not an option",
            suggestion(name, (*SETTINGS, "size")) + "; each is a whole number: ?size=32",
        )
    return base, int(value)


def decode(
    name: str,
    train: EncodedPart,
    test: EncodedPart,
    *,
    classes: int,
    source: str,
    size: int | None,
    notes: Sequence[str] = (),
) -> Images:
    """Decode both parts of a data set.

    Args:
        name: as the study names the data set.
        train: the part that is trained on.
        test: the part that accuracy is computed on.
        classes: K, labels must be below it.
        source: where the images came from.
        size: height and width of all images; ``None`` to keep them.
        notes: remarks on the data set.

    Raises:
        DatasetError: no images, a damaged one, one that is too large, differing sizes, a label
            outside 0 to K-1; says where.
    """
    pixels = []
    for part, word in ((train, "training"), (test, "test")):
        if not part.labels:
            raise DatasetError(f"{name} has no {word} images", f"put some into {source}")
        _check_labels(part, classes)
        with large_images_refused:
            pixels.append(_decode_part(part, size))
    first, other = pixels[0][0], pixels[1][0]
    if first.shape[:2] != other.shape[:2]:
        raise _differing(test, 0, other, train.place(0), first)
    rgb = any(array.ndim == _RGB_CHANNELS for part_pixels in pixels for array in part_pixels)
    splits = [
        Split(_stack(part_pixels, rgb), torch.tensor(part.labels, dtype=torch.int64))
        for part_pixels, part in zip(pixels, (train, test), strict=True)
    ]
    return Images(name, splits[0], splits[1], classes, source, notes=tuple(notes))


def _check_labels(part: EncodedPart, classes: int) -> None:
    for row, label in enumerate(part.labels):
        if not 0 <= label < classes:
            raise DatasetError(
                f"{part.place(row)} has the label {label}, and there are {classes} classes",
                f"labels are whole numbers from 0 to {classes - 1}",
            )


def _decode_part(part: EncodedPart, size: int | None) -> list[NDArray[np.uint8]]:
    """All images, (H, W) grey or (H, W, 3), of equal height and width."""

    def decode_chunk(start: int) -> list[NDArray[np.uint8]]:
        rows = range(start, min(start + _CHUNK, len(part.labels)))
        return [_decode_one(part, row, size) for row in rows]

    # Pillow's decoders release the GIL, but opening a file does not: with threads CIFAR-10 took
    # twice as long as without, and images of 512x512 half as long.
    width, height = _opened(part, 0).size
    threads = (os.cpu_count() or 1) if width * height >= _WORTH_A_THREAD else 1
    with ThreadPoolExecutor(threads) as pool:
        chunks = pool.map(decode_chunk, range(0, len(part.labels), _CHUNK))
        arrays = [array for chunk in chunks for array in chunk]
    for row, array in enumerate(arrays):
        if array.shape[:2] != arrays[0].shape[:2]:
            raise _differing(part, row, array, part.place(0), arrays[0])
    return arrays


def _opened(part: EncodedPart, row: int) -> Image.Image:
    try:
        return part.open_image(row)
    except Exception as error:  # each of Pillow's decoders reports damage differently
        raise _undecodable(part, row, error) from error


def _decode_one(part: EncodedPart, row: int, size: int | None) -> NDArray[np.uint8]:
    image = _opened(part, row)
    try:
        if image.mode.split(";")[0] in _WIDE:
            raise ValueError(f"pixels of more than 8 bits (mode {image.mode})")
        image = image.convert("L" if image.mode in _GREY else "RGB")
        if size is not None:
            image = image.resize((size, size), Image.Resampling.BILINEAR)
        return np.asarray(image)
    except Exception as error:  # pixels are often decoded lazily
        raise _undecodable(part, row, error) from error


def _undecodable(part: EncodedPart, row: int, error: Exception) -> DatasetError:
    what = one_line(error) or type(error).__name__
    return DatasetError(
        f"{part.place(row)} cannot be decoded: {what}",
        "make the image smaller or remove it; the limit is PIL.Image.MAX_IMAGE_PIXELS"
        if isinstance(error, TOO_LARGE)
        else "download the file again, or remove the image",
    )


def _differing(
    part: EncodedPart, row: int, pixels: NDArray[np.uint8], place: str, first: NDArray[np.uint8]
) -> DatasetError:
    (height, width), (first_height, first_width) = pixels.shape[:2], first.shape[:2]
    return DatasetError(
        f"{part.place(row)} has {height}x{width} pixels, and {place} has "
        f"{first_height}x{first_width}",
        f"resize all images: add ?size={min(first_height, first_width)} to the data set",
    )


def _stack(arrays: list[NDArray[np.uint8]], rgb: bool) -> Tensor:
    """Images (N, C, H, W)."""
    height, width = arrays[0].shape[:2]
    stacked = np.empty((len(arrays), _RGB_CHANNELS if rgb else 1, height, width), np.uint8)
    for target, array in zip(stacked, arrays, strict=True):
        target[:] = array if array.ndim == 2 else array.transpose(2, 0, 1)  # noqa: PLR2004 - grey
    return torch.from_numpy(stacked)
