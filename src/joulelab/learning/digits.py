"""Handwritten digits that come with scikit-learn: 1,797 images of 1x8x8, 10 classes.

After the UCI set "Optical Recognition of Handwritten Digits" (its test part). Its pixels are
integers from 0 to 16; v becomes round(255 * v / 16), so 16 is white. The split is fixed,
independent of the study's seed: 1,437 training and 360 test images, each class in proportion.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from joulelab.learning.data_folder import refuse_argument
from joulelab.learning.images import Images, Split

TEST_IMAGES = 360
SPLIT_SEED = 0
BRIGHTEST = 16


def load(argument: str, data_dir: Path | None) -> Images:
    """The digits; nothing is read from the data folder.

    Args:
        argument: must be empty.
        data_dir: not used.

    Raises:
        UsageError: an argument was given.
    """
    del data_dir
    refuse_argument("digits", argument)
    pixels, labels, train, test = _read()
    return Images(
        name="digits",
        train=_part(pixels, labels, train),
        test=_part(pixels, labels, test),
        classes=int(labels.max()) + 1,
        source="scikit-learn's load_digits",
    )


@cache  # scikit-learn reads them from compressed text
def _read() -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Pixels (1797, 1, 8, 8), labels, and the rows of the training and of the test images."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    digits = load_digits()
    train, test = train_test_split(
        np.arange(len(digits.target)),
        test_size=TEST_IMAGES,
        stratify=digits.target,
        random_state=SPLIT_SEED,
    )
    pixels = np.rint(digits.images * (255 / BRIGHTEST)).astype(np.uint8)[:, np.newaxis]
    return pixels, digits.target, train, test


def _part(pixels: NDArray[np.uint8], labels: NDArray[np.int64], rows: NDArray[np.int64]) -> Split:
    # Rows by their numbers are copies: whoever changes the images changes only his own.
    return Split(
        torch.from_numpy(pixels[rows]), torch.from_numpy(labels[rows].astype(np.int64, copy=False))
    )
