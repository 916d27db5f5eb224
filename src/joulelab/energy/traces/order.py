"""The times of one channel's rows: in order, spread over their seconds, and how far apart."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from joulelab.energy.sample_buffer import Floats
from joulelab.tabular.table import Table, listed

MOSTLY = 0.9
BURST = 0.1
"""Steps below this part of the usual one are rows that were written together."""
LONG_STEPS = 0.95


def typical_s(times_s: Floats) -> float:
    """How far apart a channel's samples usually are, in seconds; 0 where nothing tells.

    Samples that repeat a time, or were written in bursts, do not shorten it, and holes do not
    lengthen it: it is the median of the steps that are not much shorter than the long ones.

    Args:
        times_s: (n,), in order.
    """
    steps_s = np.diff(times_s)
    steps_s = steps_s[steps_s > 0]
    if not len(steps_s):
        return 0.0
    long_s = float(np.quantile(steps_s, LONG_STEPS))
    between = steps_s[steps_s >= BURST * long_s]
    # A few long steps are holes; where they are a third of all, the short ones are bursts.
    usual = between if 3 * len(between) >= len(steps_s) else steps_s
    # Of two steps the shorter: the other may be a hole.
    return float(np.quantile(usual, 0.5, method="lower"))


def check_order(table: Table, times_s: Floats) -> None:
    """Refuse times that are missing or go back.

    Args:
        table: where they are from.
        times_s: (n,) seconds, one for each of its rows.

    Raises:
        TraceError: with a hint at what it may be.
    """
    if not np.isfinite(times_s).all():
        row = int(np.argmin(np.isfinite(times_s)))
        raise table.error("there is no time", "mend that row, or take it out", row)
    if len(times_s) > 1 and not np.ptp(times_s):
        raise table.error("all rows have the same time", "name another column: --time COLUMN", 0)
    back = np.flatnonzero(np.diff(times_s) < 0) + 1
    if not len(back):
        return
    hint = (
        "was the clock set, or summer time over (--timezone names the zone)? Else cut the file in "
        "two there, and read each part"
    )
    if name := _recordings(table, back):
        column = table.frame[name]
        hint = (
            f"it holds {column.nunique()} recordings: name one of them, where={name}=VALUE, of "
            f"{listed(column)}"
        )
    step_s = times_s[back[0] - 1] - times_s[back[0]]
    raise table.error(f"time goes back {step_s:g} s", hint, int(back[0]))


def _recordings(table: Table, back: NDArray[np.intp]) -> str:
    """The column that says which of several recordings a row is of; empty where none does.

    It changes where time goes back, and hardly elsewhere; the finest of such columns is meant.
    """
    best, most = "", 0
    for name in table.frame.columns:
        column = table.frame[name]
        changes = np.flatnonzero((column != column.shift()).to_numpy())[1:]
        everywhere = len(changes) == len(column) - 1
        if not everywhere and len(changes) > most and np.isin(changes, back).mean() >= MOSTLY:
            best, most = str(name), len(changes)
    return best
