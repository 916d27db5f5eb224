"""Images of requests: files, and preprocessing for a network.

::

    bytes -> RGB -> shorter side to `resize`, bilinear -> `crop` x `crop` from the middle
          -> [0, 1] -> (x - mean) / std by channel

The numbers are those of torchvision's ``Resize``, ``CenterCrop``, ``ToTensor`` and ``Normalize``
with the mean and the standard deviation of ImageNet, bit for bit. It only needs Pillow and numpy,
so a process without torch can prepare images too.
"""

from __future__ import annotations

import functools
import importlib.util
import mimetypes
from collections.abc import Sequence
from io import BytesIO
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

from joulelab.errors import JoulelabError, UsageError, one_line
from joulelab.image_limit import check_pixels, large_images_refused

MEAN = np.array([0.485, 0.456, 0.406], np.float32)
STD = np.array([0.229, 0.224, 0.225], np.float32)
CHANNELS = 3
VALUE_BYTES = 4

_WHITE = np.float32(255)
_WIDE = ("I", "F")
_FILES_KEPT = 64


class UnreadableImageError(JoulelabError):
    """An image cannot be read; the message says why."""


def image_files(path: Path) -> tuple[Path, ...]:
    """The files to send: a single file, or the images in a folder, sorted by name.

    Args:
        path: of a file of any kind, or of a folder.

    Raises:
        UsageError: there is no such file, or no image in the folder.
    """
    if path.is_file():
        return (path,)
    if not path.is_dir():
        raise UsageError(f"{path} does not exist", "give an image, or a folder with images")
    images = tuple(
        one
        for one in sorted(path.iterdir())
        if one.is_file() and (mimetypes.guess_type(one.name)[0] or "").startswith("image/")
    )
    if not images:
        raise UsageError(f"{path} contains no images", "file names must end in .jpg, .png ...")
    return images


def shipped_photographs() -> tuple[Path, ...]:
    """The two photographs of scikit-learn, found without importing it.

    Raises:
        UsageError: they are not installed.
    """
    spec = importlib.util.find_spec("sklearn")
    if spec is not None and spec.origin is not None:
        found = sorted((Path(spec.origin).parent / "datasets" / "images").glob("*.jpg"))
        if found:
            return tuple(found)
    raise UsageError("scikit-learn's photographs are not installed", "give an image or a folder")


class ImageFiles:
    """Files of encoded images, with a small cache.

    Args:
        files: their names.
    """

    def __init__(self, files: Sequence[str]) -> None:
        self._files = files
        self.read = functools.lru_cache(_FILES_KEPT)(self._read)

    def _read(self, position: int) -> bytes:
        """The bytes of a file.

        Args:
            position: among the files.

        Raises:
            UnreadableImageError: the file cannot be read.
        """
        try:
            return Path(self._files[position]).read_bytes()
        except OSError as error:
            raise UnreadableImageError(error.strerror or str(error)) from error


def load_decoders() -> None:
    """Import all decoders now, so that the first image of a window does not wait."""
    Image.init()


def prepare(encoded: bytes, resize: int, crop: int, out: NDArray[np.float32]) -> None:
    """Decode an image, resize, crop and normalise it.

    Args:
        encoded: a file in any format that Pillow reads.
        resize: length of the shorter side before cropping, in pixels.
        crop: height and width of the result, in pixels; at most `resize`.
        out: (3, crop, crop), written to.

    Raises:
        UnreadableImageError: the bytes cannot be decoded, or the image is too large.
    """
    try:
        with large_images_refused:
            pixels = _cropped(encoded, resize, crop)  # (crop, crop, 3), uint8
    except UnidentifiedImageError as error:
        raise UnreadableImageError("not an image format that Pillow reads") from error
    except Exception as error:  # each of Pillow's decoders reports damage differently
        what = one_line(error) or type(error).__name__
        raise UnreadableImageError(what) from error
    np.divide(pixels.transpose(2, 0, 1), _WHITE, out=out)
    out -= MEAN[:, np.newaxis, np.newaxis]
    out /= STD[:, np.newaxis, np.newaxis]


def prepared_bytes(crop: int) -> int:
    """Bytes of one prepared image.

    Args:
        crop: its height and width.
    """
    return VALUE_BYTES * CHANNELS * crop * crop


def _cropped(encoded: bytes, resize: int, crop: int) -> NDArray[np.uint8]:
    with Image.open(BytesIO(encoded)) as opened:
        if opened.mode.split(";")[0] in _WIDE:
            raise ValueError(f"pixels of more than 8 bits (mode {opened.mode})")
        image = opened.convert("RGB")
    width, height = image.size
    short, long = min(width, height), max(width, height)
    longer = int(resize * long / short)
    size = (resize, longer) if width <= height else (longer, resize)
    check_pixels(*size)  # a strip of 1 pixel's width becomes `resize` times as long
    if size != image.size:
        image = image.resize(size, Image.Resampling.BILINEAR)
    left, top = (round((side - crop) / 2) for side in size)
    return np.asarray(image.crop((left, top, left + crop, top + crop)))
