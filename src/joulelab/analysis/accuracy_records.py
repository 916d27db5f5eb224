"""The most accurate network of its time: what each new record of accuracy took in energy.

A line through all networks mixes those that were made to be accurate with those that were made to
be small. Records leave the small ones out: the most accurate network of each year, where it beats
all of the years before.
"""

from __future__ import annotations

import pandas as pd

from joulelab.analysis.missing import complete


def accuracy_records(
    points: pd.DataFrame, energy: str = "energy_j", accuracy: str = "accuracy"
) -> pd.DataFrame:
    """The networks that were more accurate than all of the years before, and the best of theirs.

    Args:
        points: a row a network: ``model``, ``year``, an energy and an accuracy; one without any of
            them is left out.
        energy: column in joules; of two with the same accuracy the frugal one counts.
        accuracy: column.

    Returns:
        Their rows, the oldest first.

    Raises:
        UsageError: a column is absent or does not hold numbers.

    >>> points = pd.DataFrame({"model": list("abcd"), "year": [2012, 2014, 2014, 2015],
    ...     "accuracy": [0.56, 0.71, 0.69, 0.70], "energy_j": [1.0, 9.0, 2.0, 3.0]})
    >>> accuracy_records(points)["model"].to_list()
    ['a', 'b']
    """
    rows = complete(points, ["year", energy, accuracy], ["model"]).rows
    order = rows.sort_values(["year", accuracy, energy], ascending=[True, False, True])
    best = order.drop_duplicates("year")
    before = best[accuracy].cummax().shift(fill_value=-1.0)
    return best[best[accuracy] > before].reset_index(drop=True)
