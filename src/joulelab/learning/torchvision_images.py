"""Data sets of torchvision: Fashion-MNIST and any other for classification by its class's name.

MNIST and its kin are read by `idx`; torchvision is imported to download them, and for all others.
"""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import torch
from PIL import Image

from joulelab.errors import DatasetError, UnknownNameError, UsageError, quoted
from joulelab.image_limit import TOO_LARGE, large_images_refused
from joulelab.learning.data_folder import data_folder, downloading, standing_in
from joulelab.learning.decoding import EncodedPart, decode, split_size
from joulelab.learning.idx import find_idx, read_idx
from joulelab.learning.images import Images, Split

_IDX_CLASSES = ("MNIST", "FashionMNIST", "KMNIST")
_IDX_LABELS = 10
_IDX_FILES = {
    (part, what): f"{prefix}-{what}-ubyte"
    for part, prefix in (("train", "train"), ("test", "t10k"))
    for what in ("images-idx3", "labels-idx1")
}
_TRAIN_SPLITS = ("train", "trainval")
_TEST_SPLITS = ("test", "val", "valid", "validation")


def load_fashion_mnist(argument: str, data_dir: Path | None) -> Images:
    """Fashion-MNIST (Xiao et al., 2017): 60,000 and 10,000 images of 1x28x28, 10 classes.

    Args:
        argument: must be empty.
        data_dir: read from ``FashionMNIST/raw/``, as torchvision lays it out; the four files may be
            compressed and the folder read-only. Downloaded where none of them is there.

    Raises:
        DatasetError: a file is missing, cut short or corrupt, or cannot be downloaded.
    """
    if argument:
        raise UsageError(
            f"the data set fashion-mnist takes no argument {quoted(argument)}",
            "write fashion-mnist",
        )
    return _load_idx("fashion-mnist", "FashionMNIST", data_folder(data_dir))


def load(argument: str, data_dir: Path | None) -> Images:
    """``torchvision:<Class>``: a data set for classification that has a training and a test part.

    Args:
        argument: a class of ``torchvision.datasets`` whose constructor takes ``train=`` or
            ``split=``, with ``?size=<pixels>`` where its images differ in size.
        data_dir: its root folder; downloaded where the data is missing.

    Raises:
        UnknownNameError: torchvision has no such class.
        DatasetError: the class has no two parts, its files are damaged, or cannot be downloaded.
    """
    class_name, size = split_size(argument)
    folder = data_folder(data_dir)
    if class_name in _IDX_CLASSES and size is None:
        return _load_idx(f"torchvision:{argument}", class_name, folder)
    (_, train), (test_part, test) = _both_parts(_dataset_class(class_name), folder)
    encoded_train, encoded_test = _encoded(class_name, train), _encoded(class_name, test)
    known = getattr(train, "classes", None)
    return decode(
        f"torchvision:{argument}",
        encoded_train,
        encoded_test,
        classes=len(known) if known else 1 + max([*encoded_train.labels, *encoded_test.labels]),
        source=f"torchvision, {folder}",
        size=size,
        notes=standing_in(test_part),
    )


def _load_idx(name: str, class_name: str, folder: Path) -> Images:
    raw = folder / class_name / "raw"
    missing = [file for file in _IDX_FILES.values() if find_idx(raw, file) is None]
    if len(missing) == len(_IDX_FILES):
        with downloading(name, folder, f"{class_name}/raw/{missing[0]}.gz and the other three"):
            _dataset_class(class_name)(root=folder, train=True, download=True)
    elif missing:
        # torchvision would fetch all four and overwrite those that differ from its checksums.
        raise DatasetError(
            f"{raw} has no file {missing[0]} or {missing[0]}.gz",
            f"fetch it again, or give --data-dir a folder that has all of {class_name}/raw/",
        )
    return Images(
        name, _idx_split(raw, "train"), _idx_split(raw, "test"), _IDX_LABELS, source=str(raw)
    )


def _idx_split(raw: Path, part: str) -> Split:
    paths = {what: raw / _IDX_FILES[part, what] for what in ("images-idx3", "labels-idx1")}
    image_file = find_idx(raw, paths["images-idx3"].name) or paths["images-idx3"]
    label_file = find_idx(raw, paths["labels-idx1"].name) or paths["labels-idx1"]
    pixels, labels = read_idx(image_file, dimensions=3), read_idx(label_file, dimensions=1)
    if len(pixels) != len(labels):
        raise DatasetError(
            f"{image_file} has {len(pixels)} images and {label_file} has {len(labels)} labels",
            "delete both and fetch them again",
        )
    if labels.size and labels.max() >= _IDX_LABELS:
        raise DatasetError(
            f"{label_file} has a label {labels.max()}, and there are {_IDX_LABELS} classes",
            "delete it and fetch it again",
        )
    return Split(
        torch.from_numpy(pixels)[:, None],  # (N, 1, H, W)
        torch.from_numpy(labels).to(torch.int64),
    )


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
    """What the parts are called, and their data sets."""
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
            f"torchvision's {cls.__name__} does not come in a training and a test part",
            "split it in a data set of your own: docs/own-data-set.md",
        )
    return train, test


def _first_part(
    cls: Any,  # noqa: ANN401
    folder: Path,
    choices: list[dict[str, Any]],
) -> tuple[str, Any] | None:
    """The first of the parts that the class knows, downloaded if need be; ``None`` for none."""
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
                    "delete the folder and fetch it again",
                ) from None
            needs = f"the files of torchvision's {cls.__name__}"
            with downloading(f"torchvision:{cls.__name__}", folder, needs):
                whole = cls(root=folder, download=True, **options)
            return str(options.get("split", "")), whole
    return None


def _label(class_name: str, dataset: Any, row: int) -> Any:  # noqa: ANN401
    """Some decode an image to tell its label."""
    try:
        with large_images_refused:
            return dataset[row][1]
    except TOO_LARGE as error:
        raise DatasetError(
            f"image {row} of torchvision's {class_name} cannot be decoded: {error}",
            "leave it out; the limit is PIL.Image.MAX_IMAGE_PIXELS",
        ) from error


def _encoded(class_name: str, dataset: Any) -> EncodedPart:  # noqa: ANN401
    """The items of a torchvision data set, each a Pillow image and a label."""
    labels = getattr(dataset, "targets", None) or getattr(dataset, "labels", None)
    if labels is None:
        labels = [_label(class_name, dataset, row) for row in range(len(dataset))]
    try:
        whole = [int(label) for label in labels]
    except (TypeError, ValueError) as error:
        raise DatasetError(
            f"torchvision's {class_name} has no class label for each image",
            "choose a data set for classification",
        ) from error

    def open_image(row: int) -> Image.Image:
        image = dataset[row][0]
        if not isinstance(image, Image.Image):
            raise TypeError(f"a {type(image).__name__} and not an image")
        return image

    return EncodedPart(open_image, lambda row: f"image {row} of torchvision's {class_name}", whole)
