"""CIFAR-10 (Krizhevsky, 2009): 50,000 and 10,000 photographs of 3x32x32, 10 classes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from joulelab.errors import UsageError, quoted
from joulelab.learning import hf_parquet, torchvision_images
from joulelab.learning.data_folder import data_folder
from joulelab.learning.images import Images


def load(argument: str, data_dir: Path | None) -> Images:
    """CIFAR-10 from Parquet files if they are there, else by torchvision.

    Args:
        argument: must be empty.
        data_dir: read from Parquet files in ``cifar10/`` in Hugging Face's layout, else from
            ``cifar-10-batches-py/`` in torchvision's; downloaded where there is neither.

    Raises:
        DatasetError: a file is missing, cut short or corrupt, or cannot be downloaded.
    """
    if argument:
        raise UsageError(
            f"the data set cifar10 takes no argument {quoted(argument)}", "write cifar10"
        )
    parquet = data_folder(data_dir) / "cifar10"
    if any(parquet.rglob("*.parquet")):
        return hf_parquet.load_folder("cifar10", parquet)
    return replace(torchvision_images.load("CIFAR10", data_dir), name="cifar10")
