"""The data sets of a study: selected images, and manifest entries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from joulelab.errors import StoreMismatchError
from joulelab.kinds.training.executor import ImagesRequest
from joulelab.kinds.training.spec import TrainingKeys
from joulelab.learning.images import Images
from joulelab.study.store_reading import data_sets


class DataSets:
    """The images of every data set of a study.

    Args:
        spec: keys of the study that select images.
        seed: of the study.
        data_dir: the folder with data sets; ``None`` for none.

    Attributes:
        images: by the name of the data set.
    """

    def __init__(self, spec: TrainingKeys, seed: int, data_dir: Path | None) -> None:
        self._spec = spec
        self._seed = seed
        self._data_dir = data_dir
        self.images: dict[str, Images] = {}

    def request(self, name: str) -> ImagesRequest:
        """The requested images of a data set."""
        spec = self._spec
        return ImagesRequest(
            name,
            str(self._data_dir) if self._data_dir else None,
            None if spec.train_images == "all" else spec.train_images,
            None if spec.test_images == "all" else spec.test_images,
            self._seed,
        )

    def add(self, name: str, images: Images) -> None:
        """Add the images of a data set; call before anything else."""
        self.images[name] = images

    def counted(self, name: str) -> tuple[int, int]:
        """Training and test images of one data set."""
        images = self.images[name]
        return len(images.train), len(images.test)

    @property
    def words(self) -> str:
        """``digits (1,500 training and 297 test images)``."""
        return " and ".join(
            f"{name} ({len(one.train):,} training and {len(one.test):,} test images)"
            for name, one in self.images.items()
        )

    @property
    def notes(self) -> list[str]:
        """Remarks on each data set: substituted parts, skipped files."""
        return [f"{name}: {'; '.join(one.notes)}" for name, one in self.images.items() if one.notes]

    @property
    def train_images(self) -> tuple[int, int]:
        """Numbers of used and of all training images, over all data sets."""
        every = self.images.values()
        return sum(len(one.train) for one in every), sum(one.available[0] for one in every)

    @property
    def counts(self) -> dict[str, int]:
        """For JSON: images in all data sets together."""
        test = sum(len(one.test) for one in self.images.values())
        return {"train_images": self.train_images[0], "test_images": test}

    @cached_property
    def described(self) -> list[dict[str, Any]]:
        """For the manifest: sizes, shape, classes and checksum of each data set."""
        return [
            {
                "name": name,
                "source": images.source,
                "train_images": len(images.train),
                "test_images": len(images.test),
                "train_images_of": images.available[0],
                "test_images_of": images.available[1],
                "shape": list(images.shape),
                "classes": images.classes,
                "checksum": images.checksum(),
                "notes": list(images.notes),
            }
            for name, images in self.images.items()
        ]


def check_same_data(manifest: Mapping[str, Any], described: Sequence[Mapping[str, Any]]) -> None:
    """Refuse changed data.

    Args:
        manifest: of earlier sessions.
        described: the data sets now, as `DataSets.described`.

    Raises:
        StoreMismatchError: names the data set and both sources.
    """
    earlier = {one["name"]: one for one in data_sets(manifest)}
    for now in described:
        before = earlier.get(now["name"], now)
        if before["checksum"] != now["checksum"]:
            raise StoreMismatchError(
                f"the data set {now['name']} from {now['source']} is not the one that the "
                f"study began with ({before['source']})",
                "continue with the same data, or choose another folder with --out",
            )
