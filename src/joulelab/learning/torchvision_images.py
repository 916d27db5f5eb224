"""Data sets of torchvision: Fashion-MNIST, CIFAR-10, and any other for classification by its class.

MNIST and similar sets are IDX files, plain or compressed with gzip: a magic number (two zero bytes,
8 for unsigned bytes, the number of dimensions), each dimension as a big-endian 32-bit number, then
the values. They are read here; torchvision is imported only to download them, and for all other
classes. torchvision needs unpacked files and would unpack them next to the compressed ones (a data
folder may be read-only), fails with an assertion on damaged files, and takes longer to import than
reading takes.
"""

from __future__ import annotations

import gzip
import inspect
import math
import struct
import zlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from joulelab.errors import DatasetError, UnknownNameError
from joulelab.image_limit import TOO_LARGE, large_images_refused
from joulelab.learning import hf_parquet
from joulelab.learning.data_folder import data_folder, downloading, refuse_argument, standing_in
from joulelab.learning.decoding import EncodedPart, decode, split_size
from joulelab.learning.images import Images, Split

_IDX_CLASSES = ("MNIST", "FashionMNIST", "KMNIST")
_IDX_LABELS = 10
_UNSIGNED_BYTE = 8
_IDX_FILES = [
    f"{part}-{what}-ubyte" for part in ("train", "t10k") for what in ("images-idx3", "labels-idx1")
]
_TRAIN_SPLITS = ("train", "trainval")
_TEST_SPLITS = ("test", "val", "valid", "validation")


def load_fashion_mnist(argument: str, data_dir: Path | None) -> Images:
    """Fashion-MNIST (Xiao et al., 2017): 60,000 and 10,000 images of 1x28x28, 10 classes.

    Args:
        argument: must be empty.
        data_dir: read from ``FashionMNIST/raw/``, torchvision's layout; the four files may be
            compressed and the folder read-only. Downloaded if none of them exists.

    Raises:
        DatasetError: a file is missing, cut short or corrupt, or cannot be downloaded.
    """
    refuse_argument("fashion-mnist", argument)
    return _load_idx("fashion-mnist", "FashionMNIST", data_folder(data_dir))


def load_cifar10(argument: str, data_dir: Path | None) -> Images:
    """CIFAR-10 (Krizhevsky, 2009): 50,000 and 10,000 photographs of 3x32x32, 10 classes.

    Args:
        argument: must be empty.
        data_dir: read from Parquet files in ``cifar10/`` in Hugging Face's layout, else from
            ``cifar-10-batches-py/`` in torchvision's; downloaded if neither exists.

    Raises:
        DatasetError: a file is missing, cut short or corrupt, or cannot be downloaded.
    """
    refuse_argument("cifar10", argument)
    parquet = data_folder(data_dir) / "cifar10"
    if any(parquet.rglob("*.parquet")):
        return hf_parquet.load_folder("cifar10", parquet)
    return replace(load("CIFAR10", data_dir), name="cifar10")


def load(argument: str, data_dir: Path | None) -> Images:
    """``torchvision:<Class>``: a data set for classification that has a training and a test part.

    Args:
        argument: a class of ``torchvision.datasets`` whose constructor takes ``train=`` or
            ``split=``, with ``?size=<pixels>`` where its images differ in size.
        data_dir: its root folder; downloaded if the data is missing.

    Raises:
        UnknownNameError: torchvision has no such class.
        DatasetError: the class has no two parts, its files are damaged, or cannot be downloaded.
    """
    class_name, size = split_size(argument)
    folder = data_folder(data_dir)
    if class_name in _IDX_CLASSES and size is None:
        return _load_idx(f"torchvision:{argument}", class_name, folder)
    (_, train_set), (test_part, test_set) = _both_parts(_dataset_class(class_name), folder)
    train, test = _Items(class_name, train_set), _Items(class_name, test_set)
    known = getattr(train_set, "classes", None)
    return decode(
        f"torchvision:{argument}",
        train,
        test,
        classes=len(known) if known else 1 + max([*train.labels, *test.labels]),
        source=f"torchvision, {folder}",
        size=size,
        notes=standing_in(test_part),
    )


def _load_idx(name: str, class_name: str, folder: Path) -> Images:
    raw = folder / class_name / "raw"
    missing = [name for name in _IDX_FILES if not _idx_file(raw, name).is_file()]
    if len(missing) == len(_IDX_FILES):
        with downloading(name, folder, f"{class_name}/raw/{missing[0]}.gz and the other three"):
            _dataset_class(class_name)(root=folder, train=True, download=True)
    elif missing:
        # torchvision would download all four and overwrite those that differ from its checksums.
        raise DatasetError(
            f"{raw} has no file {missing[0]} or {missing[0]}.gz",
            f"download it again, or give --data-dir a folder that has all of {class_name}/raw/",
        )
    train, test = (_idx_split(raw, *_IDX_FILES[first : first + 2]) for first in (0, 2))
    return Images(name, train, test, _IDX_LABELS, source=str(raw))


def _idx_split(raw: Path, image_name: str, label_name: str) -> Split:
    image_file, label_file = _idx_file(raw, image_name), _idx_file(raw, label_name)
    pixels, labels = _idx_values(image_file, dimensions=3), _idx_values(label_file, dimensions=1)
    if len(pixels) != len(labels):
        raise DatasetError(
            f"{image_file} has {len(pixels)} images and {label_file} has {len(labels)} labels",
            "delete both and download them again",
        )
    if labels.size and labels.max() >= _IDX_LABELS:
        raise DatasetError(
            f"{label_file} has a label {labels.max()}, but there are {_IDX_LABELS} classes",
            "delete it and download it again",
        )
    return Split(
        torch.from_numpy(pixels)[:, None],  # (N, 1, H, W)
        torch.from_numpy(labels).to(torch.int64),
    )


def _idx_file(raw: Path, name: str) -> Path:
    """The file of that name, plain or as ``.gz``; the plain path if neither exists."""
    plain, packed = raw / name, raw / f"{name}.gz"
    return packed if packed.is_file() and not plain.is_file() else plain


def _idx_values(path: Path, dimensions: int) -> NDArray[np.uint8]:
    """The values of an IDX file of unsigned bytes.

    Args:
        path: a name that ends in ``.gz`` is decompressed.
        dimensions: expected number of dimensions: 3 for images, 1 for labels.

    Raises:
        DatasetError: unreadable, truncated, corrupt, or another format.
    """
    content = _unpacked(path)
    header = 4 * (1 + dimensions)
    if content[:4] != bytes([0, 0, _UNSIGNED_BYTE, dimensions]) or len(content) < header:
        raise _damaged(
            path, f"does not start like an IDX file of unsigned bytes in {dimensions} dimensions"
        )
    shape = struct.unpack(f">{dimensions}I", content[4:header])
    expected = math.prod(shape)
    if len(content) - header != expected:
        raise _damaged(
            path, f"holds {len(content) - header} values, but its header says {expected}"
        )
    # A copy, because an array over bytes is read-only, and torch needs a writable one.
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape).copy()


def _unpacked(path: Path) -> bytes:
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
    return DatasetError(f"{path} {what}", "delete it and download it again")


def _dataset_class(class_name: str) -> Any:  # noqa: ANN401 - torchvision has no types
    from torchvision import datasets
    from torchvision.datasets import VisionDataset

    classes = {
        name: member
        for name, member in vars(datasets).items()
        if inspect.isclass(member) and issubclass(member, VisionDataset)
    }
    if class_name not in classes:
        raise UnknownNameError("data set of torchvision", class_name, classes)
    return classes[class_name]


def _both_parts(
    cls: Any,  # noqa: ANN401
    folder: Path,
) -> tuple[tuple[str, Any], tuple[str, Any]]:
    """The names of the parts, and their data sets."""
    parameters = inspect.signature(cls.__init__).parameters
    if "split" in parameters:
        choices: list[list[dict[str, Any]]] = [
            [{"split": split} for split in splits] for splits in (_TRAIN_SPLITS, _TEST_SPLITS)
        ]
    elif "train" in parameters:
        choices = [[{"train": True}], [{"train": False}]]
    else:
        choices = []
    train, test = [_first_part(cls, folder, one) for one in choices] or (None, None)
    if train is None or test is None:
        raise DatasetError(
            f"torchvision's {cls.__name__} is not split into a training and a test part",
            "split it in a custom data set: joulelab help own-data-set",
        )
    return train, test


def _first_part(
    cls: Any,  # noqa: ANN401
    folder: Path,
    choices: list[dict[str, Any]],
) -> tuple[str, Any] | None:
    """The first part that the class supports, downloaded if needed; ``None`` for none."""
    for options in choices:
        try:
            return str(options.get("split", "")), cls(root=folder, **options)
        except ValueError:
            continue  # the class has no part of that name
        except (RuntimeError, OSError):
            own_folder = getattr(cls, "base_folder", None)
            if own_folder and (folder / own_folder).exists():
                raise DatasetError(
                    f"{folder / own_folder} is incomplete, or differs from torchvision's checksums",
                    "delete the folder and download it again",
                ) from None
            needs = f"the files of torchvision's {cls.__name__}"
            with downloading(f"torchvision:{cls.__name__}", folder, needs):
                whole = cls(root=folder, download=True, **options)
            return str(options.get("split", "")), whole
    return None


class _Items(EncodedPart):
    """The items of a torchvision data set, each a Pillow image and a label."""

    def __init__(self, class_name: str, dataset: Any) -> None:  # noqa: ANN401
        self._class_name = class_name
        self._dataset = dataset
        labels = getattr(dataset, "targets", None) or getattr(dataset, "labels", None)
        if labels is None:
            labels = [self._label(row) for row in range(len(dataset))]
        try:
            self.labels = [int(label) for label in labels]
        except (TypeError, ValueError) as error:
            raise DatasetError(
                f"torchvision's {class_name} has no class label for each image",
                "choose a data set for classification",
            ) from error

    def open_image(self, row: int) -> Image.Image:
        """The image of an item."""
        image = self._dataset[row][0]
        if not isinstance(image, Image.Image):
            raise TypeError(f"a {type(image).__name__} and not an image")
        return image

    def place(self, row: int) -> str:
        """The number of the item."""
        return f"image {row} of torchvision's {self._class_name}"

    def _label(self, row: int) -> Any:  # noqa: ANN401
        """Some data sets decode an image to return its label."""
        try:
            with large_images_refused:
                return self._dataset[row][1]
        except TOO_LARGE as error:
            raise DatasetError(
                f"{self.place(row)} cannot be decoded: {error}",
                "remove it; the limit is PIL.Image.MAX_IMAGE_PIXELS",
            ) from error
