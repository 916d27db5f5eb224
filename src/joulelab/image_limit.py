"""Images must not have more pixels than Pillow's limit, ``PIL.Image.MAX_IMAGE_PIXELS``, 89 million.

A file of a few kB can be an image of many GB. Pillow refuses images above twice its limit and only
warns in between; joulelab treats both as errors wherever it decodes images. To use larger images,
raise the limit or set it to ``None``.
"""

from __future__ import annotations

import threading
import warnings

from PIL import Image

TOO_LARGE = (Image.DecompressionBombError, Image.DecompressionBombWarning)
"""Exceptions raised when such an image is opened or decoded."""


class _Refusing:
    """Turns Pillow's warning into an error, process-wide because warning filters are global.

    The first thread to enter sets the filter, the last one to leave restores it.
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
"""Inside the context, opening or decoding an image above the limit raises one of `TOO_LARGE`."""


def check_pixels(width: int, height: int) -> None:
    """Refuse to create an image above the limit, for instance by resizing a very oblong one.

    Args:
        width: in pixels.
        height: in pixels.

    Raises:
        DecompressionBombError: it would exceed the limit.
    """
    limit = Image.MAX_IMAGE_PIXELS
    if limit is not None and width * height > limit:
        raise Image.DecompressionBombError(
            f"Image size ({width * height} pixels) exceeds limit of {limit} pixels"
        )
