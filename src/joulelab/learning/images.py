"""Images in memory, and the registry of data sets.

A data set is a function of its argument and of the data folder that gives `Images`. It is named
``digits`` or, with an argument, ``torchvision:FashionMNIST`` or ``folder:/data/birds``: what stands
before the first colon is the registered name. Every data set has settings, after a question mark:
``digits?channels=3&side=32`` (`joulelab.learning.image_settings`).

Shapes: N images, C channels, H x W pixels; labels are whole numbers from 0 to K-1.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from joulelab.errors import DatasetError
from joulelab.learning.image_settings import ImageSettings, split_settings
from joulelab.registry import Registry

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class ImageShape:
    """Channels, height and width of every image of a data set."""

    channels: int
    height: int
    width: int

    @property
    def size(self) -> int:
        """Values in one image: D = C * H * W."""
        return self.channels * self.height * self.width


@dataclass(frozen=True)
class Split:
    """Images and labels of the training or of the test part.

    Attributes:
        images: (N, C, H, W), uint8, 0 to 255, in host memory; scaled to [0, 1] on the device.
        labels: (N,), int64.
    """

    images: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Images:
    """A whole data set for image classification.

    Attributes:
        name: as the study names it.
        train: the part that is trained on.
        test: the part that accuracy is computed on.
        classes: number K of classes.
        source: where the images came from: a folder, a library.
        whole: training and test images of the whole data set, where this is a part of it.
        notes: what is to be said of it: what stands in for what, what was left out.
    """

    name: str
    train: Split
    test: Split
    classes: int
    source: str
    whole: tuple[int, int] | None = None
    notes: tuple[str, ...] = ()

    @property
    def available(self) -> tuple[int, int]:
        """Training and test images of the whole data set."""
        return self.whole or (len(self.train), len(self.test))

    @property
    def shape(self) -> ImageShape:
        """Channels, height and width."""
        _, channels, height, width = self.train.images.shape
        return ImageShape(channels, height, width)

    def checksum(self) -> str:
        """SHA-256 over all pixels and labels, so that two studies can tell they saw the same."""
        digest = hashlib.sha256()
        for split in (self.train, self.test):
            for tensor in (split.images, split.labels):
                digest.update(tensor.contiguous().numpy().data)
        return digest.hexdigest()


Loader = Callable[[str, Path | None], Images]
"""``loader(argument, data_dir) -> Images``; the argument is what follows the colon, or empty."""

datasets: Registry[Loader] = Registry(
    "data set",
    "joulelab.datasets",
    {
        "digits": ("joulelab.learning.digits:load", "1,797 digits, 8x8, within scikit-learn"),
        "fashion-mnist": (
            "joulelab.learning.torchvision_images:load_fashion_mnist",
            "70,000 articles of clothing, 28x28, from --data-dir or downloaded",
        ),
        "cifar10": (
            "joulelab.learning.cifar10:load",
            "60,000 photographs, 32x32 in colour, from --data-dir or downloaded",
        ),
        "torchvision": (
            "joulelab.learning.torchvision_images:load",
            "torchvision:<Class>, any classification set of torchvision.datasets",
        ),
        "hf-parquet": (
            "joulelab.learning.hf_parquet:load",
            "hf-parquet:<folder>, Parquet files in the Hugging Face image layout",
        ),
        "folder": (
            "joulelab.learning.image_folder:load",
            "folder:<path>, train/<class>/*.png and test/<class>/*.png",
        ),
    },
)


def load_images(name: str, data_dir: Path | None = None) -> Images:
    """Load a data set by name.

    Args:
        name: a registered name, or ``<registered name>:<argument>``; each with settings after a
            question mark if need be.
        data_dir: the folder with data; where ``None``, the one in ``JOULELAB_DATA`` if it is set.

    Raises:
        UnknownNameError: no data set has that name.
        UsageError: a setting that there is not, or an impossible value of one.
        DatasetError: files are missing, cut short or corrupt; says which and what to do.
    """
    import os

    whole, settings = split_settings(name)
    kind, _, argument = whole.partition(":")
    if data_dir is None and os.environ.get("JOULELAB_DATA"):
        data_dir = Path(os.environ["JOULELAB_DATA"])
    images = datasets.get(kind)(argument, data_dir)
    for split, part in ((images.train, "training"), (images.test, "test")):
        if not len(split):
            raise DatasetError(f"the data set {name} has no {part} images", f"see {images.source}")
        if not 0 <= int(split.labels.min()) <= int(split.labels.max()) < images.classes:
            raise DatasetError(
                f"the data set {name} has {part} labels outside 0 to {images.classes - 1}",
                f"see {images.source}",
            )
    return _with(settings, images, name) if settings != ImageSettings() else images


def _with(settings: ImageSettings, images: Images, name: str) -> Images:
    return replace(
        images,
        name=name,
        train=replace(images.train, images=settings.of(images.train.images)),
        test=replace(images.test, images=settings.of(images.test.images)),
        source=f"{images.source}, as {settings.words}",
    )


def thinned(images: Images, train: float | None, test: float | None, seed: int) -> Images:
    """The same data set with fewer images, drawn at random without replacement.

    Args:
        images: the whole data set.
        train: how many training images to keep, or, below 1, which share of them, but at least as
            many as there are classes; ``None``, or more than there are, keeps all.
        test: the same for the test images.
        seed: which images are drawn follows from it.
    """
    import torch

    generator = torch.Generator().manual_seed(seed)

    def draw(split: Split, wanted: float | None) -> Split:
        if wanted is None or wanted >= len(split):
            return split
        count = max(images.classes, round(wanted * len(split))) if wanted < 1 else int(wanted)
        chosen = torch.randperm(len(split), generator=generator)[:count]
        return Split(split.images[chosen], split.labels[chosen])

    return replace(
        images,
        train=draw(images.train, train),
        test=draw(images.test, test),
        whole=images.available,
    )
