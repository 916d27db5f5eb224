"""No image has more pixels than Pillow's limit, ``PIL.Image.MAX_IMAGE_PIXELS``, 89 million.

A file of a few kB can be an image of many GB. Pillow refuses one of more than twice its limit, and
only warns of one in between; here both are an error, wherever images are decoded. Who needs larger
ones raises the limit, or sets it to ``None``.
"""

from __future__ import annotations

import threading
import warnings

from PIL import Image

TOO_LARGE = (Image.DecompressionBombError, Image.DecompressionBombWarning)
"""What opening, or decoding, such an image raises."""


class _Refusing:
    """Makes Pillow's warning an error in the whole process, as warnings have one filter for all.

    The first thread that enters sets the filter, and the last one that leaves puts it back.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._inside = 0

    def __enter__(self) -> None:
        with self._lock:
            if not self._inside:
                self._filter = warnings.catch_warnings(
                    action="error", category=Image.DecompressionBombWarning
                )
                self._filter.__enter__()
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._inside -= 1
            if not self._inside:
                self._filter.__exit__(None, None, None)


large_images_refused = _Refusing()
"""Within it, opening or decoding an image above the limit raises one of `TOO_LARGE`."""


def check_pixels(width: int, height: int) -> None:
    """Refuse to make an image above the limit, for instance by resizing one of an odd shape.

    Args:
        width: in pixels.
        height: in pixels.

    Raises:
        DecompressionBombError: it would be above it.
    """
    limit = Image.MAX_IMAGE_PIXELS
    if limit is not None and width * height > limit:
        raise Image.DecompressionBombError(
            f"Image size ({width * height} pixels) exceeds limit of {limit} pixels"
        )
