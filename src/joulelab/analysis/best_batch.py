"""What batching saves: energy per image at batch size 1 and at the best batch size of each network.

The mean over repetitions with Student's interval, and the saving as a ratio of geometric means with
Welch's (`joulelab.analysis.comparison`)::

    saving = 1 - E_best / E_1            E_1, E_best   joules an image at 1 and at the best size

The best size is the one with the least mean of those that were measured. Choosing it on the same
measurements makes it look better than it is, by as much as chance moves the means: between sizes
that are alike within their intervals, neither the size nor a saving near 0 means anything.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import pandas as pd

from joulelab.analysis.comparison import mean_interval, ratio_of_means
from joulelab.analysis.missing import complete

COLUMNS = (
    "model",
    "single_j",
    "single_low_j",
    "single_high_j",
    "best_size",
    "best_j",
    "best_low_j",
    "best_high_j",
    "saving",
    "saving_low",
    "saving_high",
    "sizes",
    "n",
    "dropped",
)
NAN = math.nan


def best_batch(
    runs: pd.DataFrame,
    energy: str = "energy_per_image_j",
    model: str = "model",
    size: str = "batch_size",
) -> pd.DataFrame:
    """Energy per image of each network alone and at its best batch size.

    Args:
        runs: a row a run.
        energy: column in joules an image; a run with 0 or less, which noise can give to net energy,
            is left out.
        model: column with the network.
        size: column with the batch size.

    Returns:
        A row a network, in order of appearance: ``model``, ``single_j`` (at batch size 1; missing
        where that was not measured, and the saving with it), ``best_size``, ``best_j``, ``saving``
        (a share), each with ``_low`` and ``_high`` (95 %; missing without repetitions), ``sizes``
        (how many were measured), ``n`` (runs) and ``dropped``.

    Raises:
        UsageError: a column is absent or does not hold numbers.

    >>> runs = pd.DataFrame({"model": "a", "batch_size": [1, 1, 8, 8, 16, 16],
    ...     "energy_per_image_j": [2.0, 2.2, 1.0, 1.1, 1.5, 1.4]})
    >>> best_batch(runs)[["model", "single_j", "best_size", "best_j", "saving"]].round(3)
      model  single_j  best_size  best_j  saving
    0     a       2.1          8    1.05     0.5
    """
    rows = []
    for name, of_model in runs.groupby(model, sort=False):
        whole = complete(of_model, [energy, size]).rows
        whole = whole[whole[energy] > 0]
        sizes = sorted(set(whole[size].astype(int)))
        samples = {one: whole.loc[whole[size] == one, energy].to_list() for one in sizes}
        found = _of_model(samples)
        rows.append({"model": name, **found, "dropped": len(of_model) - len(whole)})
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype({"best_size": "Int64"})


def _of_model(samples: Mapping[int, list[float]]) -> dict[str, object]:
    found: dict[str, object] = {"sizes": len(samples), "n": sum(map(len, samples.values()))}
    if not samples:
        return found
    means = {size: mean_interval(values) for size, values in samples.items()}
    best = min(means, key=lambda size: means[size].value)
    for name, size in (("single", 1), ("best", best)):
        if size in means:
            found[f"{name}_j"] = means[size].value
            found[f"{name}_low_j"], found[f"{name}_high_j"] = means[size].low, means[size].high
    found["best_size"] = best
    if 1 in samples:
        ratio = ratio_of_means(samples[best], samples[1])
        # Nothing is saved for sure where 1 itself is the best.
        low, high = (ratio.low, ratio.high) if best != 1 else (NAN, NAN)
        found |= {"saving": 1 - ratio.value, "saving_low": 1 - high, "saving_high": 1 - low}
    return found
