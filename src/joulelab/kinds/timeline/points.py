"""The data behind tables and figures of a comparison over time: one row per network.

Runs of the kind ``timeline`` have the factors ``model`` and ``batch_size``, and besides the usual
columns ``images`` (number classified) and properties of the network: ``year``, ``source``,
``published_top1`` (0 to 1), ``weights`` (a name, or ``random``), ``flops_per_image``,
``parameters`` and, if known, ``image_px`` (as served) and ``crop_px`` (as published).
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from joulelab import formats
from joulelab.analysis.batching import best_batch
from joulelab.analysis.frames import numbers, require_columns
from joulelab.analysis.front import undominated
from joulelab.analysis.trend import Growth, Trend, growth, trend
from joulelab.present import cached_per_subject
from joulelab.report.experiment import Experiment

KIND = "timeline"
MODEL, SIZE, USED = "model", "batch_size", "batch_used"
RANDOM = "random"
SINGLE, BEST, ACCURACY = "single_j", "best_j", "accuracy"
_FIGURES = {
    "year": "year",
    "published_top1": ACCURACY,
    "flops_per_image": "flops",
    "parameters": "parameters",
    "image_px": "image_px",
    "crop_px": "crop_px",
}
_WORDS = ("source", "weights")


@cached_per_subject
def network_points(experiment: Experiment) -> pd.DataFrame:
    """One row per network, the oldest first.

    Returns:
        ``model``, ``year``, ``source``, ``weights``, ``accuracy`` (published), ``flops``,
        ``parameters``, ``image_px``, ``crop_px``, the columns of
        `joulelab.analysis.batching.best_batch`, and ``on_front``: no other network takes at most
        its energy at the best batch and has at least its accuracy.

    Raises:
        UsageError: the runs are not from a comparison over time.
    """
    runs = experiment.runs
    require_columns(runs, [MODEL, SIZE, "images"])
    if USED in runs:
        # A batch that did not fit in memory was halved: use the smaller size.
        runs = runs.assign(**{SIZE: runs[USED].fillna(runs[SIZE]).astype(int)})
    images = numbers(runs, "images")
    per_image = np.full(len(runs), np.nan)
    if experiment.energy.column is not None:
        energies = numbers(runs, experiment.energy.column)
        np.divide(energies, images, out=per_image, where=images > 0)
    table = best_batch(runs.assign(energy_per_image_j=per_image), model=MODEL, size=SIZE)
    known = pd.DataFrame({MODEL: runs[MODEL]})
    for name, ours in _FIGURES.items():
        known[ours] = numbers(runs, name) if name in runs else np.nan
    for name in _WORDS:
        known[name] = runs.get(name)
    # Properties of a network are the same in all of its runs.
    firsts = known.groupby(MODEL, sort=False).first()
    points = table.join(firsts, on=MODEL)
    points["on_front"] = undominated(points[BEST].to_numpy(float), points[ACCURACY].to_numpy(float))
    return points.sort_values(["year", BEST], kind="stable", ignore_index=True)


@cached_per_subject
def energy_trend(experiment: Experiment) -> Trend:
    """The decimal logarithm of energy per image over the years, at the best batch size."""
    return trend(network_points(experiment), BEST, logarithm=True)


@cached_per_subject
def single_trend(experiment: Experiment) -> Trend:
    """The same at batch size 1."""
    return trend(network_points(experiment), SINGLE, logarithm=True)


@cached_per_subject
def accuracy_trend(experiment: Experiment) -> Trend:
    """Published top-1 accuracy over the years, of the networks whose energy is known."""
    points = network_points(experiment)
    return trend(points[points[BEST].notna()], ACCURACY)


@cached_per_subject
def relative_growth(experiment: Experiment) -> Growth:
    """Energy per image at the best batch size against accuracy, relative to themselves."""
    return growth(network_points(experiment), BEST, ACCURACY)


def weights_words(experiment: Experiment) -> str:
    """The weights of the networks, and where the accuracies are from."""
    weights = network_points(experiment)["weights"].fillna(formats.UNKNOWN)
    named = sorted(set(weights) - {RANDOM, formats.UNKNOWN})
    random, unknown = (int((weights == one).sum()) for one in (RANDOM, formats.UNKNOWN))
    if unknown == len(weights):
        return f"It is not known which weights the networks ran with; {_PUBLISHED}."
    if random == len(weights):
        return f"All networks ran with random weights; {_PUBLISHED}."
    counts = {f"with published weights ({', '.join(named)})": len(weights) - random - unknown}
    counts |= {"with random weights": random, "with unknown weights": unknown}
    said = formats.listing([f"{many:,} {which}" for which, many in counts.items() if many])
    return f"Networks ran {said}; {_PUBLISHED}."


def random_weights_words(experiment: Experiment) -> str:
    """What random weights mean for the energy, if a network ran with them."""
    return _VALUES if (network_points(experiment)["weights"] == RANDOM).any() else ""


_PUBLISHED = "the accuracies are the published ones and were not measured here"
_VALUES = (
    "Random weights ask for the same operations as trained ones. The power of a processor depends "
    "somewhat on the values it multiplies: on a GPU by up to 40 % between extreme matrices "
    "(arXiv:2409.18324)."
)


def sizes_words(experiment: Experiment) -> str:
    """Networks served with a different image size than that of their accuracy; or nothing."""
    points = network_points(experiment)
    known = points.dropna(subset=["image_px", "crop_px"])
    other = known[known["image_px"] != known["crop_px"]]
    if not len(other):
        return ""
    named = [
        f"{row[MODEL]} ({row['image_px']:.0f} px, published with {row['crop_px']:.0f})"
        for row in other.to_dict("records")
    ]
    return (
        f"Served with another image size than their published accuracy is for: "
        f"{formats.listing(named)}. Their energy and accuracy are not comparable."
    )
