"""The real training runs of del Rey et al., 2023: power at 1 Hz, and what was published of them."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

ENVIRONMENTS = {"cloud": "Cloud", "local-v2": "Local ML Engineer/Gamer"}


def traces_file(data_dir: Path) -> Path:
    path = data_dir / "delrey2023" / "power-traces.parquet"
    if not path.is_file():
        pytest.skip(f"no real power traces at {path}")
    return path


def lines(data_dir: Path) -> dict[str, pd.DataFrame]:
    """The lines of each run's log, those that were cut off among them."""
    frame = pd.read_parquet(traces_file(data_dir))
    return {str(run): rows.reset_index(drop=True) for run, rows in frame.groupby("run")}


def published(data_dir: Path, run: pd.DataFrame) -> pd.Series:
    """The published figures of a run.

    They were made of the log less its first three lines and its last three, of which the very last
    is often cut off, and of whole watts: these add up to the published "total power" exactly, and
    of the runs of its network and its computer there is only one for which they do.
    """
    runs = pd.read_csv(data_dir / "delrey2023" / "runs.csv")
    watts = int(np.floor(run.power_w[3:-3]).sum())
    first = run.iloc[0]
    same = (runs.architecture == first.model) & (runs["total power (W)"] == watts)
    same &= runs["training environment"] == ENVIRONMENTS[first.environment]
    (found,) = (row for _, row in runs[same].iterrows())
    return found
