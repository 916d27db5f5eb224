"""Encoded images for requests: photographs, a folder, or a data set as PNG files."""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from joulelab.errors import DatasetError, UsageError, quoted
from joulelab.learning.images import load_images, thinned
from joulelab.serving.images import image_files, shipped_photographs

PHOTOGRAPHS = "photographs"
FOLDER = "folder"
MOST_IMAGES = 256
"""Most images of a folder or data set that requests draw from."""


@dataclass
class RequestImages:
    """Files for each setting, found or written once; `close` removes what was written.

    Attributes:
        data_dir: the folder with data sets.
        seed: determines the images drawn from a data set.
    """

    data_dir: Path | None
    seed: int
    _files: dict[str, tuple[str, ...]] = field(default_factory=dict)
    _written: list[tempfile.TemporaryDirectory[str]] = field(default_factory=list)

    def files(self, name: str) -> tuple[str, ...]:
        """Paths of the images of a setting.

        Args:
            name: ``"photographs"``, ``"folder:<path>"``, or a data set with its argument.

        Raises:
            UsageError: the folder does not exist or has no images.
            DatasetError: the data set cannot be loaded.
        """
        if name not in self._files:
            self._files[name] = tuple(map(str, self._find(name)))
        return self._files[name]

    def checksum(self, names: Sequence[str]) -> str:
        """SHA-256 over the contents of all files of some settings.

        Raises:
            DatasetError: a file cannot be read.
        """
        digest = hashlib.sha256()
        for name in names:
            for file in self.files(name):
                try:
                    digest.update(Path(file).read_bytes())
                except OSError as error:
                    message = f"the image {file} cannot be read: {error.strerror}"
                    raise DatasetError(message, "restore it, or remove it from the study") from None
        return digest.hexdigest()

    def close(self) -> None:
        """Remove files written for data sets."""
        while self._written:
            self._written.pop().cleanup()
        self._files.clear()

    def _find(self, name: str) -> Sequence[Path]:
        kind, _, argument = name.partition(":")
        if name == PHOTOGRAPHS:
            return shipped_photographs()
        folder = Path(argument).expanduser()
        if kind == FOLDER and not (folder / "train").is_dir():
            if not argument:
                raise UsageError(
                    f"images = {quoted(name)} does not name a folder", "write folder:<path>"
                )
            return image_files(folder)[:MOST_IMAGES]
        return self._write(name)

    def _write(self, name: str) -> Sequence[Path]:
        """Test images of a data set, as PNG files."""
        from PIL import Image

        images = thinned(load_images(name, self.data_dir), None, MOST_IMAGES, self.seed).test.images
        folder = tempfile.TemporaryDirectory(prefix="joulelab-images-")
        self._written.append(folder)
        paths = []
        for number, image in enumerate(images):
            # (C, H, W) to PIL's layout: (H, W) in grey, (H, W, 3) in colour.
            pixels = image.permute(1, 2, 0).squeeze(-1).numpy()
            paths.append(Path(folder.name) / f"{number}.png")
            Image.fromarray(pixels).save(paths[-1])
        return paths
