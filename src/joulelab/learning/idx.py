"""Reading IDX, the format of MNIST and its kin; plain or compressed with gzip.

A file is a magic number (two zero bytes, 8 for unsigned bytes, the number of dimensions), each
dimension as a big-endian 32-bit number, then the values.

torchvision reads the format too, but only from unpacked files, which it would unpack beside the
compressed ones (a data folder may be read-only), and a damaged file ends in an assertion. Its
import alone takes longer than everything here.
"""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from joulelab.errors import DatasetError

_UNSIGNED_BYTE = 8


def find_idx(folder: Path, name: str) -> Path | None:
    """The file of that name in a folder, plain or as ``.gz``; ``None`` where there is neither."""
    for path in (folder / name, folder / f"{name}.gz"):
        if path.is_file():
            return path
    return None


def read_idx(path: Path, dimensions: int) -> NDArray[np.uint8]:
    """The values of an IDX file of unsigned bytes.

    Args:
        path: a name that ends in ``.gz`` is decompressed.
        dimensions: how many the file must have: 3 for images, 1 for labels.

    Raises:
        DatasetError: unreadable, cut short, corrupt, or something else than that.
    """
    content = _content(path)
    header = 4 * (1 + dimensions)
    if content[:4] != bytes([0, 0, _UNSIGNED_BYTE, dimensions]) or len(content) < header:
        raise _damaged(
            path, f"does not start like an IDX file of unsigned bytes in {dimensions} dimensions"
        )
    shape = struct.unpack(f">{dimensions}I", content[4:header])
    expected = math.prod(shape)
    if len(content) - header != expected:
        raise _damaged(
            path, f"holds {len(content) - header} values where its header says {expected}"
        )
    # A copy, because an array over bytes cannot be written to, and torch insists that it can.
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape).copy()


def _content(path: Path) -> bytes:
    try:
        if path.suffix == ".gz":
            with gzip.open(path) as file:
                return file.read()
        return path.read_bytes()
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise _damaged(path, f"is cut short or corrupt: {error}") from error
    except OSError as error:
        raise DatasetError(
            f"{path} cannot be read: {error.strerror or error}", "check its permissions"
        ) from error


def _damaged(path: Path, what: str) -> DatasetError:
    return DatasetError(f"{path} {what}", "delete it and fetch it again")
