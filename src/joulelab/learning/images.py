"""Images in memory, and the registry of data sets.

A data set is a function of its argument and the data folder that returns `Images`. Its name is
``digits`` or, with an argument, ``torchvision:FashionMNIST`` or ``folder:/data/birds``: the
registered name is before the first colon. Every data set has settings, after a question mark:
``digits?channels=3&side=32``:

``channels``
    1 or 3. Grey becomes colour by repeating its channel; colour becomes grey by the luminance of
    ITU-R BT.601, L = 0.299 R + 0.587 G + 0.114 B, rounded, as Pillow has it.
``side``
    Height and width in pixels: bilinear, with antialiasing when shrinking. Images become square.

Images are changed once, when the data set is loaded, and stay uint8. Other settings are passed to
the data set, if its name has an argument: ``folder:birds?size=64&channels=3``.

Shapes: N images, C channels, H x W pixels; labels are whole numbers from 0 to K-1.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import psutil

from joulelab.errors import DatasetError, UsageError, quoted, suggestion
from joulelab.registry import Registry

if TYPE_CHECKING:
    from torch import Tensor

SETTINGS = ("channels", "side")
GREY, COLOUR = 1, 3
# 0.299, 0.587 and 0.114 in units of 2^-16.
_LUMINANCE = (19595, 38470, 7471)
_CHUNK = 1000
_GB = 1e9


class ImageShape(NamedTuple):
    """Channels, height and width of every image of a data set."""

    channels: int
    height: int
    width: int

    @property
    def words(self) -> str:
        """``3x32x32``."""
        return "x".join(map(str, self))

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
        source: origin of the images: a folder, a library.
        whole: numbers of training and test images of the whole data set, if this is a subset.
        notes: remarks on it: substituted parts, skipped files.
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
        return ImageShape(*self.train.images.shape[1:])

    def checksum(self) -> str:
        """SHA-256 over all pixels and labels, to compare the data of two studies."""
        digest = hashlib.sha256()
        for split in (self.train, self.test):
            for tensor in (split.images, split.labels):
                digest.update(tensor.contiguous().numpy().data)
        return digest.hexdigest()

    def validation_split(self, held_out: float = 0.2, seed: int = 0) -> Images:
        """The training images alone, a part of them held out as test images.

        Each class is held out in proportion to its images, and keeps at least one to train on. The
        real test images are not in the result.

        Args:
            held_out: number of training images to hold out or, below 1, their share.
            seed: determines which images are held out.

        Raises:
            UsageError: nothing would be held out, or too few images would be left to train on.
        """
        chosen = _held_out(self.train.labels, self.classes, held_out, seed)
        count = int(chosen.sum())
        note = f"scores are of {count:,} of {len(self.train):,} training images, held out"
        return replace(
            self,
            train=Split(self.train.images[~chosen], self.train.labels[~chosen]),
            test=Split(self.train.images[chosen], self.train.labels[chosen]),
            whole=self.available,
            notes=(*self.notes, note),
        )


@dataclass(frozen=True)
class ImageSettings:
    """Conversion of the images of a data set; ``None`` keeps a property.

    Attributes:
        channels: 1 or 3.
        side: height and width in pixels.
    """

    channels: int | None = None
    side: int | None = None

    @property
    def words(self) -> str:
        """``3 channels, 32x32``; empty if nothing is changed."""
        said = []
        if self.channels is not None:
            said.append(f"{self.channels} channel{'s' * (self.channels != 1)}")
        if self.side is not None:
            said.append(f"{self.side}x{self.side}")
        return ", ".join(said)

    def of(self, images: Tensor) -> Tensor:
        """Images with these settings; the same tensor if nothing changes.

        Args:
            images: (N, C, H, W), uint8.

        Raises:
            UsageError: images with neither 1 nor 3 channels cannot be converted.
            DatasetError: they would not fit into this machine's memory.
        """
        self._check_memory(images)
        if self.channels == GREY and images.shape[1] == COLOUR:
            images = _luminance(images)
        if self.side is not None and images.shape[2:] != (self.side, self.side):
            images = _resized(images, self.side)
        if self.channels in (None, images.shape[1]):
            return images
        if images.shape[1] != GREY:
            raise UsageError(
                f"images of {images.shape[1]} channels cannot be converted to {self.channels}",
                "remove the setting channels",
            )
        return images.repeat(1, self.channels, 1, 1)

    def _check_memory(self, images: Tensor) -> None:
        count, channels, height, width = images.shape
        pixels = height * width if self.side is None else self.side**2
        needed = count * (self.channels or channels) * pixels
        free = psutil.virtual_memory().available
        if needed > free:
            raise DatasetError(
                f"{count:,} images of {self.words} take {needed / _GB:.1f} GB, and "
                f"{free / _GB:.1f} GB are free",
                "choose a smaller size",
            )


def split_settings(name: str) -> tuple[str, ImageSettings]:
    """Split the name of a data set from the common settings.

    Args:
        name: for instance ``digits?channels=3&side=32``.

    Returns:
        The name for the loader, and the settings.

    Raises:
        UsageError: an unknown setting, one given twice, or an impossible value.

    >>> split_settings("digits?channels=3&side=32")
    ('digits', ImageSettings(channels=3, side=32))
    >>> split_settings("folder:birds?size=64&channels=1")
    ('folder:birds?size=64', ImageSettings(channels=1, side=None))
    """
    base, mark, query = name.rpartition("?")
    if not mark:
        return name, ImageSettings()
    values: dict[str, int] = {}
    others = []
    for pair in query.split("&"):
        key, _, value = pair.partition("=")
        if key not in SETTINGS:
            others.append(pair)
        elif key in values:
            raise UsageError(f"{key} occurs twice in {quoted(name)}", "give each setting once")
        else:
            values[key] = _checked(name, key, value)
    if others and ":" not in base:
        raise UsageError(
            f"the data set {base} has no setting {quoted(others[0].partition('=')[0])}",
            suggestion(others[0].partition("=")[0], SETTINGS),
        )
    rest = f"{base}?{'&'.join(others)}" if others else base
    return rest, ImageSettings(values.get("channels"), values.get("side"))


def _checked(name: str, key: str, value: str) -> int:
    number = int(value) if value.isascii() and value.isdigit() else 0
    if key == "channels" and number not in (GREY, COLOUR):
        raise UsageError(
            f"channels = {quoted(value)} in {quoted(name)} is not possible", "channels is 1 or 3"
        )
    if number < 1:
        raise UsageError(
            f"{key} = {quoted(value)} in {quoted(name)} is not possible",
            f"{key} is a number of pixels: ?{key}=32",
        )
    return number


def _luminance(images: Tensor) -> Tensor:
    """(N, 3, H, W) to (N, 1, H, W), uint8; in integers, for identical results everywhere."""
    import torch

    weights = torch.tensor(_LUMINANCE, dtype=torch.int32).view(1, COLOUR, 1, 1)
    half = 1 << 15
    chunks = [
        ((chunk.int() * weights).sum(1, keepdim=True, dtype=torch.int32) + half) >> 16
        for chunk in torch.split(images, _CHUNK)
    ]
    return torch.cat([chunk.to(torch.uint8) for chunk in chunks])


def _resized(images: Tensor, side: int) -> Tensor:
    """(N, C, H, W) to (N, C, side, side), uint8."""
    import torch
    from torch.nn.functional import interpolate

    resized = images.new_empty(*images.shape[:2], side, side)
    for chunk, target in zip(
        torch.split(images, _CHUNK), torch.split(resized, _CHUNK), strict=True
    ):
        values = interpolate(
            chunk.float(), size=(side, side), mode="bilinear", align_corners=False, antialias=True
        )
        target.copy_(values.round_().clamp_(0, 255))
    return resized


Loader = Callable[[str, Path | None], Images]
"""``loader(argument, data_dir) -> Images``; the argument is the text after the colon, or empty."""

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
            "joulelab.learning.torchvision_images:load_cifar10",
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
        data_dir: the data folder; ``None`` for ``JOULELAB_DATA``, if set.

    Raises:
        UnknownNameError: no data set has that name.
        UsageError: an unknown setting, or an impossible value of one.
        DatasetError: files are missing, cut short or corrupt; says which and what to do.
    """
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
    if settings == ImageSettings():
        return images
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
        train: number of training images to keep or, below 1, their share, but at least the number
            of classes; ``None``, or more than exist, keeps all.
        test: the same for the test images.
        seed: determines which images are drawn.
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


def _held_out(labels: Tensor, classes: int, held_out: float, seed: int) -> Tensor:
    """Which images are held out, bool, (N,): the same share of each class, by largest remainder."""
    import torch

    total = len(labels)
    count = round(held_out * total) if held_out < 1 else int(held_out)
    images = torch.bincount(labels, minlength=classes)  # (K,)
    room = (images - 1).clamp(min=0)
    if not 1 <= count <= int(room.sum()):
        raise UsageError(
            f"{held_out:g} of {total:,} training images cannot be held out",
            f"hold out 1 to {int(room.sum()):,} images: each class keeps one to train on",
        )
    exact = images.double() * count / total
    taken = torch.minimum(exact.floor().long(), room)  # (K,)
    while (missing := count - int(taken.sum())) > 0:
        # Ties are resolved in the order of the classes, everywhere alike.
        behind = torch.where(taken < room, exact - taken, -torch.inf)
        taken[behind.sort(descending=True, stable=True).indices[:missing]] += 1
        taken = torch.minimum(taken, room)
    order = torch.randperm(total, generator=torch.Generator().manual_seed(seed))
    chosen = torch.zeros(total, dtype=torch.bool)
    for which in range(classes):
        chosen[order[labels[order] == which][: int(taken[which])]] = True
    return chosen
