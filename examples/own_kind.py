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
from typing import Any, ClassVar, Literal

import numpy as np

from joulelab import kinds
from joulelab.kinds import Call, CallWorkload, Experiment, ExperimentSpec, Factor, Kind, Level
from joulelab.present import Axis, Column, Figure, Table, curves, figure, table, words


class SortingSpec(ExperimentSpec):
    """Sorting: algorithms x numbers of values."""

    noun: ClassVar[str] = "sorting"
    algorithms: list[Literal["quicksort", "heapsort", "stable"]]
    sizes: list[int]

    def factors(self) -> Sequence[Factor]:
        """Algorithm and size."""
        return Factor("algorithm", tuple(self.algorithms)), Factor("size", tuple(self.sizes))


class SortingWorkload(CallWorkload):
    """Sorts the same random values again and again for a second."""

    seconds = 1.0

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


@table("sorting-cost", "Energy of sorting a value")
def costs(one: Experiment) -> Table:
    """Mean energy of sorting a value, by configuration."""
    runs = one.runs.assign(nj=1e9 * one.runs[kinds.energy_column(one)] / one.runs["values_sorted"])
    rows = runs.groupby(["algorithm", "size"], as_index=False)["nj"].mean()
    columns = [words("algorithm"), Column("size"), Column("energy, nJ", "nj", "{:.2f}".format)]
    return Table(rows, columns, "Means over the repetitions.")


@figure("sorting-curves", "Energy of sorting a value")
def curves_by_size(one: Experiment) -> Figure:
    """The same as curves over the number of values."""
    lines = costs(one).frame.rename(columns={"algorithm": "line"})
    size, energy = Axis("size", "values", scale="log"), Axis("nj", "nJ a value", scale="log")
    return Figure(lambda width: curves(lines, size, energy, width=width), "", "By size.")


REPORT = kinds.Report(contents=[costs, curves_by_size], lead=[curves_by_size, costs])
kinds.register("sorting")(Kind(SortingSpec, SortingWorkload, REPORT))
