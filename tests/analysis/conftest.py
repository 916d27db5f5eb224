"""The published measurements of Yarally et al. (CAIN 2023), Fashion-MNIST."""

from pathlib import Path

import pandas as pd
import pytest

CONFIGURATION = ["linear_layers", "conv_layers", "relu"]
HYPERPARAMETERS = ["learning_rate", "beta1", "beta2"]


def published(data_dir: Path, name: str) -> pd.DataFrame:
    path = data_dir / "yarally2023" / name
    if not path.is_file():
        pytest.skip(f"no published measurements at {path}")
    return pd.read_csv(path)


@pytest.fixture(scope="session")
def tuning(data_dir: Path) -> pd.DataFrame:
    """A row a round of the tuning experiment; its accuracy is the mean of 8 repetitions."""
    return published(data_dir, "tuning-fashion-mnist.csv")


@pytest.fixture(scope="session")
def architecture(data_dir: Path) -> pd.DataFrame:
    """The 3,072 trainings of the architecture experiment, with the canonical energy column."""
    runs = published(data_dir, "architecture-fashion-mnist.csv")
    runs = runs.rename(columns={"energy_j": "energy_net_j"})
    runs["relu"] = runs["relu_layers"] > 0
    runs["round"] = runs.groupby([*CONFIGURATION, *HYPERPARAMETERS]).ngroup()
    runs["configuration"] = runs[CONFIGURATION].astype(str).agg("/".join, axis=1)
    return runs
