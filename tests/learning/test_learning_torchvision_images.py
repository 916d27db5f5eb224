"""Data sets of torchvision: MNIST and its kin in all their states, any class, downloads."""

import gzip
import shutil
import socket
import struct
import sys
import urllib.error
import urllib.request

import numpy as np
import pytest
import torch
from PIL import Image

from joulelab.errors import DatasetError, UnknownNameError, UsageError
from joulelab.learning.data_folder import TIMEOUT_S
from joulelab.learning.engine import Hyperparameters, Member, TrainingTask
from joulelab.learning.images import ImageShape, load_images, thinned
from joulelab.learning.reference import ReferenceEngine

TRAIN_IMAGES = "train-images-idx3-ubyte"
TRAIN_LABELS = "train-labels-idx1-ubyte"
TEST_IMAGES = "t10k-images-idx3-ubyte"
TEST_LABELS = "t10k-labels-idx1-ubyte"


def _idx(values):
    return (
        bytes([0, 0, 8, values.ndim])
        + struct.pack(f">{values.ndim}I", *values.shape)
        + values.astype(np.uint8).tobytes()
    )


@pytest.fixture
def small():
    """Contents of a small Fashion-MNIST by file name."""
    random = np.random.default_rng(0)
    return {
        TRAIN_IMAGES: random.integers(0, 256, (20, 28, 28)),
        TRAIN_LABELS: np.arange(20) % 10,
        TEST_IMAGES: random.integers(0, 256, (10, 28, 28)),
        TEST_LABELS: np.arange(10),
    }


@pytest.fixture
def folder(tmp_path, small):
    """A data folder with the small Fashion-MNIST, compressed."""
    raw = tmp_path / "FashionMNIST" / "raw"
    raw.mkdir(parents=True)
    for name, values in small.items():
        (raw / f"{name}.gz").write_bytes(gzip.compress(_idx(values)))
    return tmp_path


def _two_lines(folder, name="fashion-mnist"):
    """The message and the hint of the error that loading gives."""
    with pytest.raises(DatasetError) as caught:
        load_images(name, folder)
    message, hint = str(caught.value).split("\n")
    return message, hint


@pytest.mark.parametrize("name", ["fashion-mnist", "torchvision:FashionMNIST"])
def test_compressed_files_are_read_and_nothing_is_written(folder, small, name):
    raw = folder / "FashionMNIST" / "raw"
    before = sorted(path.name for path in raw.iterdir())
    images = load_images(name, folder)
    assert images.name == name
    assert images.shape == ImageShape(1, 28, 28)
    assert images.train.images.dtype == torch.uint8
    assert images.train.labels.dtype == torch.int64
    assert np.array_equal(images.train.images[:, 0], small[TRAIN_IMAGES])
    assert images.test.labels.tolist() == list(range(10))
    assert images.source == str(raw)
    assert sorted(path.name for path in raw.iterdir()) == before


def test_unpacked_files_give_the_same(folder):
    compressed = load_images("fashion-mnist", folder)
    for path in (folder / "FashionMNIST" / "raw").iterdir():
        path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))
        path.unlink()
    assert load_images("fashion-mnist", folder).checksum() == compressed.checksum()


def test_kin_of_mnist_lie_in_folders_of_their_own(folder):
    shutil.move(folder / "FashionMNIST", folder / "KMNIST")
    assert len(load_images("torchvision:KMNIST", folder).train) == 20


@pytest.mark.parametrize("keep", [0, 5, 100])
def test_a_compressed_file_that_is_cut_short_is_named(folder, keep):
    path = folder / "FashionMNIST" / "raw" / f"{TRAIN_IMAGES}.gz"
    path.write_bytes(path.read_bytes()[:keep])
    message, hint = _two_lines(folder)
    assert str(path) in message
    assert hint == "delete it and download it again"


def test_a_compressed_file_with_flipped_bytes_is_named(folder):
    path = folder / "FashionMNIST" / "raw" / f"{TEST_IMAGES}.gz"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)
    message, _ = _two_lines(folder)
    assert f"{path} is cut short or corrupt" in message


def test_a_file_that_is_no_gzip_is_named(folder):
    path = folder / "FashionMNIST" / "raw" / f"{TEST_LABELS}.gz"
    path.write_bytes(b"<html>404</html>")
    message, _ = _two_lines(folder)
    assert str(path) in message


def test_an_unpacked_file_that_is_cut_short_says_by_how_much(folder, small):
    path = folder / "FashionMNIST" / "raw" / TRAIN_LABELS
    path.write_bytes(_idx(small[TRAIN_LABELS])[:-3])
    message, _ = _two_lines(folder)
    assert message == f"{path} holds 17 values, but its header says 20"


@pytest.mark.parametrize("content", [b"", b"\0\0\x08", b"\0\0\x08\x03\0\0"])
def test_a_file_that_ends_within_its_header_is_named(folder, content):
    path = folder / "FashionMNIST" / "raw" / TRAIN_IMAGES
    path.write_bytes(content)
    message, _ = _two_lines(folder)
    assert f"{path} does not start like an IDX file" in message


def test_labels_in_the_place_of_images_are_noticed(folder, small):
    path = folder / "FashionMNIST" / "raw" / TRAIN_IMAGES
    path.write_bytes(_idx(small[TRAIN_LABELS]))
    message, _ = _two_lines(folder)
    assert "in 3 dimensions" in message


def test_a_different_number_of_labels_is_noticed(folder, small):
    path = folder / "FashionMNIST" / "raw" / TRAIN_LABELS
    path.write_bytes(_idx(small[TRAIN_LABELS][:-1]))
    message, _ = _two_lines(folder)
    assert "20 images" in message
    assert "19 labels" in message


def test_a_label_out_of_range_is_noticed(folder, small):
    path = folder / "FashionMNIST" / "raw" / TEST_LABELS
    path.write_bytes(_idx(small[TEST_LABELS] + 1))
    message, _ = _two_lines(folder)
    assert message == f"{path} has a label 10, but there are 10 classes"


def test_one_missing_file_is_named_and_the_others_are_left_alone(folder):
    raw = folder / "FashionMNIST" / "raw"
    (raw / f"{TEST_LABELS}.gz").unlink()
    before = {path.name: path.read_bytes() for path in raw.iterdir()}
    message, hint = _two_lines(folder)
    assert f"{raw} has no file {TEST_LABELS}" in message
    assert "FashionMNIST/raw/" in hint
    assert {path.name: path.read_bytes() for path in raw.iterdir()} == before


def test_a_data_folder_that_is_not_there_is_named(tmp_path):
    message, hint = _two_lines(tmp_path / "nowhere")
    assert str(tmp_path / "nowhere") in message
    assert "--data-dir" in hint


def test_an_argument_is_refused(folder):
    with pytest.raises(UsageError, match="takes no argument"):
        load_images("fashion-mnist:small", folder)


def test_the_real_files_are_read_without_torchvision(data_dir):
    # Another test may have imported torchvision: what counts is that reading does not.
    before = "torchvision.datasets" in sys.modules
    images = load_images("fashion-mnist", data_dir)
    assert ("torchvision.datasets" in sys.modules) == before
    assert (len(images.train), len(images.test)) == (60_000, 10_000)
    assert images.train.labels.bincount().tolist() == [6000] * 10
    # The mean pixel of the published training images is 0.2860.
    assert images.train.images.double().mean().item() / 255 == pytest.approx(0.2860, abs=1e-4)


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
    message, _ = _two_lines(countries, "torchvision:Country211")
    assert "image 1 of torchvision's Country211 cannot be decoded" in message


def test_an_unknown_class_names_the_nearest(tmp_path):
    with pytest.raises(UnknownNameError, match="did you mean 'CIFAR10'"):
        load_images("torchvision:Cifar10", tmp_path)


def test_a_class_without_two_parts_is_refused(tmp_path):
    message, hint = _two_lines(tmp_path, "torchvision:FakeData")
    assert "FakeData is not split into a training and a test part" in message
    assert "joulelab help own-data-set" in hint


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
    message, hint = _two_lines(tmp_path, name)
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
    message, hint = _two_lines(None, "fashion-mnist")
    assert "cannot be downloaded there" in message
    assert "a writable one" in hint


def test_incomplete_files_of_cifar_are_not_downloaded_over(unplugged, tmp_path):
    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir()
    (folder / "data_batch_1").write_bytes(b"cut short")
    message, hint = _two_lines(tmp_path, "cifar10")
    assert str(folder) in message
    assert "download it again" in hint
    assert not unplugged


PAPERS_TASK = TrainingTask(
    "SimpleCNN", {}, "default", 25, 512, (Member(1, Hyperparameters(learning_rate=1e-3)),)
)


@pytest.mark.parametrize(
    "protocol", [pytest.param("default", marks=pytest.mark.long), "yarally2023"]
)
def test_a_slice_is_learnt(data_dir, protocol):
    images = thinned(load_images("fashion-mnist", data_dir), 2000, 1000, seed=0)
    task = TrainingTask(
        "SimpleCNN", {}, protocol, 3, 32, (Member(1, Hyperparameters(learning_rate=3e-3)),)
    )
    (result,) = ReferenceEngine().train(task, images, "cpu")
    # Chance is 0.1; a linear classifier on as many images reaches some 0.79.
    assert result.accuracy > 0.75


@pytest.mark.long
def test_simple_cnn_reaches_the_papers_accuracy(data_dir):
    images = load_images("fashion-mnist", data_dir)
    device = "cuda:0" if torch.cuda.is_available() else "cpu"
    (result,) = ReferenceEngine().train(PAPERS_TASK, images, device)
    print(f"accuracy {result.accuracy}, last loss {result.train_losses[-1]:.4f}")
    assert result.accuracy >= 0.875
