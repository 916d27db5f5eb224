"""How many images a data set has and of which shape, without loading it where that is known."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from joulelab.learning.images import ImageShape, load_images, split_settings


@dataclass(frozen=True)
class DataShape:
    """What of a data set says what training on it costs.

    Attributes:
        shape: of one image.
        classes: their number.
        train_images: in an epoch.
        test_images: in an evaluation.
    """

    shape: ImageShape
    classes: int
    train_images: int
    test_images: int

    def with_images(self, train: float | None, test: float | None = None) -> DataShape:
        """With fewer images, as `joulelab.learning.images.thinned` takes them.

        Args:
            train: a number, or a share of 1; ``None`` for all.
            test: the same for the test images.
        """
        return replace(
            self,
            train_images=self._taken(train, self.train_images),
            test_images=self._taken(test, self.test_images),
        )

    def _taken(self, wanted: float | None, there: int) -> int:
        if wanted is None or wanted >= there:
            return there
        return max(self.classes, round(wanted * there)) if wanted < 1 else int(wanted)


GREY, COLOUR = ImageShape(1, 28, 28), ImageShape(3, 32, 32)
KNOWN = {
    "digits": DataShape(ImageShape(1, 8, 8), 10, 1437, 360),
    "fashion-mnist": DataShape(GREY, 10, 60_000, 10_000),
    "cifar10": DataShape(COLOUR, 10, 50_000, 10_000),
    "torchvision:MNIST": DataShape(GREY, 10, 60_000, 10_000),
    "torchvision:FashionMNIST": DataShape(GREY, 10, 60_000, 10_000),
    "torchvision:KMNIST": DataShape(GREY, 10, 60_000, 10_000),
    "torchvision:CIFAR10": DataShape(COLOUR, 10, 50_000, 10_000),
    "torchvision:CIFAR100": DataShape(COLOUR, 100, 50_000, 10_000),
}
"""Data sets whose size is the same everywhere."""


def data_shape(name: str, data_dir: Path | None = None) -> DataShape:
    """Size and shape of a data set; loaded where they are not known.

    Args:
        name: as a study names it, ``cifar10`` or ``digits?channels=3&side=32``.
        data_dir: the folder with data.

    Raises:
        UnknownNameError: no data set has that name.
        UsageError: an impossible setting.
        DatasetError: it has to be loaded, and cannot be.

    >>> data_shape("digits?channels=3&side=32").shape
    ImageShape(channels=3, height=32, width=32)
    """
    base, settings = split_settings(name)
    if (known := KNOWN.get(base)) is None:
        images = load_images(name, data_dir)
        return DataShape(images.shape, images.classes, len(images.train), len(images.test))
    shape = known.shape
    return replace(
        known,
        shape=ImageShape(
            settings.channels or shape.channels,
            settings.side or shape.height,
            settings.side or shape.width,
        ),
    )
