"""The digits, their scale and their split."""

from pathlib import Path

import pytest
import torch
from sklearn.datasets import load_digits

from joulelab.errors import UsageError
from joulelab.learning.images import ImageShape, load_images


@pytest.fixture(scope="module")
def digits():
    return load_images("digits")


def test_shape_and_sizes(digits):
    assert digits.shape == ImageShape(1, 8, 8)
    assert (len(digits.train), len(digits.test), digits.classes) == (1437, 360, 10)


def test_pixels_are_scaled_so_that_sixteen_is_white(digits):
    both = torch.cat([digits.train.images, digits.test.images])
    expected = sorted({round(255 * value / 16) for value in range(17)})
    assert both.unique().tolist() == expected
    assert (expected[0], expected[-1]) == (0, 255)


def test_every_digit_is_in_one_part_and_with_its_label(digits):
    original = load_digits()
    pixels = torch.cat([digits.train.images, digits.test.images]).flatten(1)
    labels = torch.cat([digits.train.labels, digits.test.labels])
    ours = sorted(
        (*row, label) for row, label in zip(pixels.tolist(), labels.tolist(), strict=True)
    )
    theirs = sorted(
        (*(round(255 * value / 16) for value in row), int(label))
        for row, label in zip(original.data.tolist(), original.target, strict=True)
    )
    assert ours == theirs


def test_the_split_has_every_class_in_proportion(digits):
    for count in digits.test.labels.bincount().tolist():
        assert count in range(35, 38)


def test_the_split_is_fixed(digits):
    again = load_images("digits", Path("a folder that is not looked at"))
    assert again.checksum() == digits.checksum()
    assert digits.test.labels[:12].tolist() == again.test.labels[:12].tolist()


def test_an_argument_is_refused():
    with pytest.raises(UsageError, match="takes no argument"):
        load_images("digits:8x8")
