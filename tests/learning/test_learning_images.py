"""Settings of a data set: channels and side, whatever it is and wherever it comes from."""

import doctest

import numpy as np
import psutil
import pytest
import torch
from PIL import Image

from joulelab.errors import DatasetError, UsageError
from joulelab.learning import images as module
from joulelab.learning.conformance import check_dataset
from joulelab.learning.images import (
    Images,
    ImageSettings,
    ImageShape,
    Split,
    datasets,
    load_images,
    split_settings,
)
from joulelab.study.validation import known


def test_the_worked_examples_hold():
    failed, tried = doctest.testmod(module)
    assert (failed, tried) == (0, 2)


def test_a_data_set_with_settings_is_one_like_any_other():
    check_dataset("digits?channels=3&side=12")


def test_grey_images_become_colour_by_repeating_and_larger_without_other_changes():
    plain = load_images("digits")
    images = load_images("digits?channels=3&side=32")
    assert images.shape == ImageShape(3, 32, 32)
    assert images.name == "digits?channels=3&side=32"
    assert images.source == "scikit-learn's load_digits, as 3 channels, 32x32"
    assert torch.equal(images.train.labels, plain.train.labels)
    for split in (images.train, images.test):
        assert split.images.dtype == torch.uint8
        assert split.images.is_contiguous()
        assert torch.equal(split.images[:, :1].expand_as(split.images), split.images)
    assert images.checksum() != plain.checksum()


def test_settings_that_change_nothing_change_nothing():
    assert load_images("digits?channels=1&side=8").checksum() == load_images("digits").checksum()


@pytest.mark.parametrize("side", [7, 45])
def test_images_are_resized_as_pillow_does_it(side):
    generator = torch.Generator().manual_seed(1)
    images = torch.randint(256, (3, 1, 20, 30), generator=generator, dtype=torch.uint8)
    resized = ImageSettings(side=side).of(images)
    assert resized.shape == (3, 1, side, side)
    for one, expected in zip(resized, images, strict=True):
        pillow = Image.fromarray(expected[0].numpy()).resize(
            (side, side), Image.Resampling.BILINEAR
        )
        assert (one[0].int() - torch.from_numpy(np.array(pillow)).int()).abs().max() <= 1


def test_colour_becomes_grey_by_the_luminance_that_pillow_computes():
    generator = torch.Generator().manual_seed(2)
    images = torch.randint(256, (5, 3, 9, 9), generator=generator, dtype=torch.uint8)
    grey = ImageSettings(channels=1).of(images)
    assert grey.shape == (5, 1, 9, 9)
    for one, colour in zip(grey, images, strict=True):
        pillow = Image.fromarray(colour.permute(1, 2, 0).numpy()).convert("L")
        assert torch.equal(one[0], torch.from_numpy(np.array(pillow)))


@pytest.mark.parametrize(
    ("name", "says", "hint"),
    [
        ("digits?chanels=3", "no setting 'chanels'", "channels"),
        ("digits?sides=3", "no setting 'sides'", "side"),
        ("digits?", "no setting ''", "known: channels, side"),
        ("digits?channels=2", "channels = '2'", "1 or 3"),
        ("digits?channels=", "channels = ''", "1 or 3"),
        ("digits?side=0", "side = '0'", "number of pixels"),
        ("digits?side=-8", "side = '-8'", "number of pixels"),
        ("digits?side=3.5", "side = '3.5'", "number of pixels"),
        ("digits?side=8&side=9", "side occurs twice", "once"),
        ("torchvision:MNIST?sise=32", "'sise=32' after the data set 'MNIST'", "'size'"),
        ("torchvision:MNIST?sides=32", "'sides=32' after the data set 'MNIST'", "'side'"),
    ],
)
def test_a_setting_that_cannot_be_is_refused_before_anything_is_loaded(name, says, hint, tmp_path):
    with pytest.raises(UsageError) as raised:
        load_images(name, tmp_path)
    assert says in raised.value.message
    assert hint in raised.value.hint


def test_other_settings_are_left_to_a_loader_that_takes_an_argument(own_parts):
    seen = []

    @datasets.register("asked")
    def asked(argument, data_dir):
        seen.append(argument)
        split = Split(torch.zeros(2, 1, 4, 4, dtype=torch.uint8), torch.tensor([0, 1]))
        return Images("asked", split, split, 2, "here")

    assert load_images("asked:here?noise=3&side=6").shape == ImageShape(1, 6, 6)
    assert seen == ["here?noise=3"]


def test_images_of_two_channels_cannot_become_colour():
    with pytest.raises(UsageError, match="images of 2 channels cannot be converted to 3"):
        ImageSettings(channels=3).of(torch.zeros(1, 2, 4, 4, dtype=torch.uint8))


def test_images_larger_than_the_memory_are_refused_before_they_are_made(monkeypatch):
    class Little:
        available = 1000

    monkeypatch.setattr(psutil, "virtual_memory", lambda: Little)
    with pytest.raises(DatasetError, match="10 images of 224x224 take") as raised:
        ImageSettings(side=224).of(torch.zeros(10, 1, 8, 8, dtype=torch.uint8))
    assert "smaller size" in raised.value.hint


def test_a_study_file_may_name_a_data_set_with_settings():
    for name in ("digits?side=32", "torchvision:MNIST?channels=3&side=48"):
        assert known(datasets, name) == name
        assert split_settings(name)[1].side
    with pytest.raises(ValueError, match="unknown data set"):
        known(datasets, "digit?side=32")


def _labelled(counts):
    """Images of which every pixel tells the row; so many of each class."""
    labels = torch.repeat_interleave(torch.arange(len(counts)), torch.tensor(counts))
    labels = labels[torch.randperm(len(labels), generator=torch.Generator().manual_seed(3))]
    pixels = torch.arange(len(labels)).to(torch.uint8).view(-1, 1, 1, 1).expand(-1, 1, 2, 2)
    test = Split(pixels[:1], labels[:1] * 0)
    return Images("counted", Split(pixels.contiguous(), labels), test, len(counts), "a test")


@pytest.mark.parametrize(
    ("counts", "held_out", "expected"),
    [
        ((40, 20, 60), 0.25, [10, 5, 15]),
        ((40, 20, 60), 12, [4, 2, 6]),
        ((5, 5, 5), 4, [2, 1, 1]),  # a tie: the first class
        ((97, 1, 2), 10, [10, 0, 0]),
        ((1, 1, 30), 0.9, [0, 0, 29]),  # what the small classes cannot give, the large one does
        ((2, 0, 3), 3, [1, 0, 2]),
    ],
)
def test_a_validation_split_holds_out_the_same_share_of_every_class(counts, held_out, expected):
    images = _labelled(counts)
    split = images.validation_split(held_out, seed=1)
    assert torch.bincount(split.test.labels, minlength=3).tolist() == expected
    rows = [part.images[:, 0, 0, 0].tolist() for part in (split.train, split.test)]
    assert sorted(rows[0] + rows[1]) == list(range(sum(counts)))
    assert rows == [sorted(part) for part in rows]  # in the order of the data set
    for part in (split.train, split.test):
        assert torch.equal(part.labels, images.train.labels[part.images[:, 0, 0, 0].long()])
    assert split.whole == (sum(counts), 1)
    assert f"{sum(expected)} of {sum(counts)} training images, held out" in split.notes[0]


def test_a_validation_split_follows_from_its_seed():
    images = load_images("digits")
    assert images.validation_split(seed=4).checksum() == images.validation_split(seed=4).checksum()
    assert images.validation_split(seed=4).checksum() != images.validation_split(seed=5).checksum()


@pytest.mark.parametrize("held_out", [0, 0.001, 118, -1])
def test_a_validation_split_that_leaves_a_part_empty_is_refused(held_out):
    with pytest.raises(UsageError, match="of 120 training images cannot be held out") as raised:
        _labelled((40, 20, 60)).validation_split(held_out)
    assert raised.value.hint == "hold out 1 to 117 images: each class keeps one to train on"
