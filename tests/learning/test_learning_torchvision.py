"""Data sets of torchvision by the name of their class, and downloads that fail."""

import socket
import urllib.error
import urllib.request

import numpy as np
import pytest
from PIL import Image

from joulelab.errors import DatasetError, UnknownNameError
from joulelab.learning.data_folder import TIMEOUT_S
from joulelab.learning.images import ImageShape, load_images

PIXELS = np.random.default_rng(0).integers(0, 256, (6, 5, 4, 3)).astype(np.uint8)


@pytest.fixture
def unplugged(monkeypatch):
    """No network; notes the timeout that a connection would have had."""
    timeouts = []

    def refuse(*_args, **_options):
        timeouts.append(socket.getdefaulttimeout())
        raise urllib.error.URLError("Name or service not known")

    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    return timeouts


@pytest.fixture
def countries(tmp_path):
    """torchvision's Country211 with two countries: it takes ``split=``, and has no checksums."""
    for part, count in (("train", 2), ("valid", 1), ("test", 1)):
        for label, country in enumerate(("AT", "NL")):
            folder = tmp_path / "country211" / part / country
            folder.mkdir(parents=True)
            for number in range(count):
                Image.fromarray(PIXELS[3 * label + number]).save(folder / f"{number}.png")
    return tmp_path


def _two_lines(name, folder):
    with pytest.raises(DatasetError) as caught:
        load_images(name, folder)
    message, hint = str(caught.value).split("\n")
    return message, hint


def test_a_class_with_splits_is_read(countries):
    images = load_images("torchvision:Country211", countries)
    assert images.shape == ImageShape(3, 5, 4)
    assert images.classes == 2
    assert np.array_equal(images.train.images, PIXELS[[0, 1, 3, 4]].transpose(0, 3, 1, 2))
    assert images.test.labels.tolist() == [0, 1]


def test_images_can_be_resized(countries):
    images = load_images("torchvision:Country211?size=3", countries)
    assert images.shape == ImageShape(3, 3, 3)


def test_a_damaged_image_is_named_by_its_place(countries):
    (countries / "country211/test/NL/0.png").write_bytes(b"")
    message, _ = _two_lines("torchvision:Country211", countries)
    assert "image 1 of torchvision's Country211 cannot be decoded" in message


def test_an_unknown_class_names_the_nearest(tmp_path):
    with pytest.raises(UnknownNameError, match="did you mean 'CIFAR10'"):
        load_images("torchvision:Cifar10", tmp_path)


def test_a_class_without_two_parts_is_refused(tmp_path):
    message, hint = _two_lines("torchvision:FakeData", tmp_path)
    assert "FakeData does not come in a training and a test part" in message
    assert "docs/own-data-set.md" in hint


@pytest.mark.parametrize(
    ("name", "needs"),
    [
        ("fashion-mnist", "FashionMNIST/raw/"),
        ("torchvision:MNIST", "MNIST/raw/"),
        ("cifar10", "CIFAR10"),
        ("torchvision:SVHN", "SVHN"),
    ],
)
def test_a_download_without_a_network_is_one_error_and_leaves_nothing(
    unplugged, tmp_path, name, needs
):
    message, hint = _two_lines(name, tmp_path)
    assert f"is not in {tmp_path} and cannot be downloaded" in message
    assert "Name or service not known" in message
    assert "--data-dir" in hint
    assert needs in hint
    assert set(unplugged) == {TIMEOUT_S}
    assert socket.getdefaulttimeout() is None
    assert not list(tmp_path.iterdir())


def test_a_data_folder_that_cannot_be_written_is_one_error(tmp_path, monkeypatch):
    # The folder of the cache would have to be made below a file.
    blocked = tmp_path / "a file"
    blocked.write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(blocked))
    monkeypatch.delenv("JOULELAB_DATA", raising=False)
    message, hint = _two_lines("fashion-mnist", None)
    assert "cannot be downloaded there" in message
    assert "can be written" in hint


def test_incomplete_files_of_cifar_are_not_downloaded_over(unplugged, tmp_path):
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    (folder / "data_batch_1").write_bytes(b"cut short")
    message, hint = _two_lines("cifar10", tmp_path)
    assert str(folder) in message
    assert "fetch it again" in hint
    assert not unplugged
