"""A kind of experiment in one file: what does sorting cost, by algorithm and number of values?

For a study file with ``plugins = ["own_kind.py"]`` and::

    [experiment.sorting]
    kind = "sorting"
    algorithms = ["quicksort", "heapsort", "stable"]
    sizes = [10_000, 100_000, 1_000_000]
    repetitions = 5
"""

import time
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from joulelab.report.chapter import Chapter
from joulelab.report.pictures import Picture
from joulelab.report.tables import Omitted, Table, no_energy
from matplotlib.figure import Figure

from joulelab.report.experiment import Experiment
from joulelab.study.call_workload import Call, CallWorkload
from joulelab.study.design import Factor, Level
from joulelab.study.kind import ExperimentSpec, Kind, kinds


class SortingSpec(ExperimentSpec):
    """Sorting: algorithms x numbers of values."""

    algorithms: list[Literal["quicksort", "heapsort", "stable"]]
    sizes: list[int]

    def factors(self) -> Sequence[Factor]:
        """Algorithm and size."""
        return Factor("algorithm", tuple(self.algorithms)), Factor("size", tuple(self.sizes))


class SortingWorkload(CallWorkload):
    """Sorts the same random values again and again for a second."""

    noun, seconds = "sorting", 1.0

    def prepare(self, levels: Mapping[str, Level], seed: int) -> Call:
        """Draw the values; the call sorts copies of them."""
        values = np.random.default_rng(seed).random(int(levels["size"]))

        def sort() -> dict[str, Any]:
            sorts, ends_s = 0, time.perf_counter() + self.seconds
            while not sorts or time.perf_counter() < ends_s:
                np.sort(values, kind=levels["algorithm"])
                sorts += 1
            return {"sorts": sorts, "values_sorted": sorts * len(values)}

        return sort


def costs(one: Experiment) -> Table | Omitted:
    """Energy of sorting a value, by configuration."""
    key, title = "sorting-cost", "Energy of sorting a value, in nJ"
    if (omitted := no_energy(one, key, title)) is not None:
        return omitted
    runs = one.runs.assign(nj=1e9 * one.runs[one.energy.column] / one.runs["values_sorted"])
    raw = runs.groupby(["algorithm", "size"], as_index=False)["nj"].mean()
    return Table(key, title, "Means.", raw, raw.round(1).astype(str), ("algorithm",))


def curves(one: Experiment) -> Picture | Omitted:
    """The same as curves over the number of values."""
    if isinstance(table := costs(one), Omitted):
        return table
    axes = Figure(layout="constrained").subplots()
    for algorithm, rows in table.raw.groupby("algorithm"):
        axes.loglog(rows["size"], rows["nj"], "o-", label=algorithm)
    axes.legend(*axes.get_legend_handles_labels(), title="nJ a value, by number of values")
    return Picture("sorting-curves", table.title, table.note, "Curves by algorithm.", axes.figure)


REPORT = Chapter(lambda e: [costs(e)], lambda e: [costs(e), curves(e)], lambda _: [], ())
kinds.register("sorting")(Kind(SortingSpec, SortingWorkload, REPORT))
