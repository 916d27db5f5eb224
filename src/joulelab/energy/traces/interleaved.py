"""Whether the rows of a log are of one device, or of several that nothing tells apart.

Two things show several devices. Rows that lie much nearer to each other than the rounds in which
they come are written by a loop over devices. Where times are cut to whole seconds, rows of one
second may as well be of one device that was asked several times; then their values tell::

    400  60  60  60 | 400  60  60  60 |     as much change from row to row, none from round to round
     60  61  61  63 |  64  66  67  67 |     a little change from row to row, anywhere: one device
    100 100 100 100 | 300 300 300 300 |     change at the beginning of a second only: several alike

What cannot be told is not guessed, with two exceptions, read as one device and no measurement. As
many rows in every second as somebody would ask for (`RATES`), and hardly devices in a machine, may
be one device at rest, or under a load of that rhythm. Rows that are evenly apart, and whose values
take turns at a fixed period throughout, may be one device under a load that keeps step with the
logger, or a loop that takes as long for each of its devices.
"""

from __future__ import annotations

from enum import Enum, auto

import numpy as np
from numpy.typing import NDArray

from joulelab.energy.sample_buffer import Floats

SIMULTANEOUS = 0.1
"""Samples that lie nearer to each other than this part of an interval are of different devices."""
SHARE = 0.02
"""Of the steps, that must be so short: fewer are accidents of the one who logged."""
RESOLUTIONS_S = (60.0, 1.0, 0.1, 0.01, 0.001)
RATES = frozenset({5, 10, 20, 25, 40, 50, 100, 200, 250, 500, 1000})
"""How often a second somebody would sample; 2 and 4 are left out, so many devices are common."""
MOST_ROUND = 16
SMOOTH = 0.7
REPEATED = 0.6
FEW = 3
REGULAR = 0.8
FLICKER = 0.1
ONCE = 2.5
"""Up and down once changes by twice the span; the rest is noise."""
LEAST_ROUNDS = 4
IN_STEP_ROUNDS = 100
"""So many rounds, at most, in which values keep their turns; a load drifts against the logger."""
IN_STEP = 0.9
"""Of the variance within rounds, the part that turns explain: of devices, all but their noise; of a
load whose steps last 2 % longer or shorter, two thirds."""
TURNS_DIFFER = 0.05
"""By what part of the mean: the ticks of a counter beat against the logger's by less."""
STEPS_DIFFER = 1.0
"""The same for steps of time: those that were cut to whole seconds beat by two thirds."""


class Verdict(Enum):
    """What the rows are of."""

    ONE = auto()
    PERHAPS_ONE = auto()
    UNKNOWN = auto()
    SEVERAL = auto()


def judge(times_s: Floats, values: Floats) -> tuple[Verdict, int]:
    """What the rows of a log without a name of a device are of.

    Args:
        times_s: (n,), in order, as they stand there: seconds since 1970, or of the recording.
        values: (n,), watts; NaN where there is none.

    Returns:
        The verdict, and how many rows usually come together.
    """
    steps_s = np.diff(times_s)
    if len(steps_s) < FEW:
        together = int((steps_s == 0).sum())
        return (Verdict.UNKNOWN if together else Verdict.ONE), together + 1
    near = _near(steps_s)
    if near.mean() < SHARE:
        turns = _turns(values, TURNS_DIFFER) or _turns(steps_s, STEPS_DIFFER)
        return (Verdict.PERHAPS_ONE, turns) if turns else (Verdict.ONE, 1)
    counts = np.diff(np.flatnonzero(np.concatenate(([True], ~near, [True]))))
    usual = int(np.median(counts[1:-1] if len(counts) > FEW else counts))
    if not _cut(times_s, float(np.median(steps_s[~near])) if not near.all() else 0.0):
        return Verdict.SEVERAL, usual
    return _by_values(values, np.flatnonzero(~near), counts, max(usual, 2)), usual


def _near(steps_s: Floats) -> NDArray[np.bool_]:
    """The steps that are short beside those from round to round."""
    positive_s = steps_s[steps_s > 0]
    if not len(positive_s):
        return np.ones(len(steps_s), bool)
    usual_s = float(np.quantile(steps_s, 0.95)) or float(np.median(positive_s))
    near = steps_s < SIMULTANEOUS * usual_s
    if near.any():
        return near
    # With very many devices only every thirtieth step is from round to round, but regularly so.
    rounds = steps_s > float(np.median(positive_s)) / SIMULTANEOUS
    counts = np.diff(np.flatnonzero(rounds))
    regular = len(counts) >= FEW and float((counts == np.median(counts)).mean()) > REGULAR
    return ~rounds if regular else near


def _cut(times_s: Floats, round_s: float) -> bool:
    """Whether the times were cut to units that follow one after the other.

    Args:
        times_s: (n,).
        round_s: usual time from round to round.
    """
    for unit_s in RESOLUTIONS_S:
        parts = times_s / unit_s
        if np.abs(parts - np.round(parts)).max() < 0.01:  # noqa: PLR2004
            return round_s < 1.5 * unit_s
    return False


def _by_values(
    values: Floats, boundaries: NDArray[np.intp], counts: NDArray[np.intp], usual: int
) -> Verdict:
    """The verdict on rows whose times were cut, by what they say.

    Args:
        values: (n,).
        boundaries: the steps (of n - 1) at which another second begins.
        counts: of the rows of each second.
        usual: rows of a second.
    """
    changes = np.nan_to_num(np.abs(np.diff(values)))
    natural = usual in RATES or usual > MOST_ROUND
    one = Verdict.PERHAPS_ONE if natural else Verdict.UNKNOWN
    if _flickers(counts[1:-1]):
        one = Verdict.ONE
    row, whole = float(changes.mean()), float(changes.sum())
    if not whole:
        return one
    after = _changes_after(values, max(MOST_ROUND, usual))
    repeats = min(after, key=lambda lag: after[lag], default=0)
    if repeats and after[repeats] < REPEATED * row:
        if repeats % usual == 0:
            wave = natural and _rises_once(values, boundaries, changes)
            return Verdict.PERHAPS_ONE if wave else Verdict.SEVERAL
        return Verdict.SEVERAL if usual % repeats == 0 else one
    # Of one device, rows on both sides of a second differ as much as rows within it.
    anywhere = changes[boundaries].sum() / whole < (1 + len(boundaries) / len(changes)) / 2
    if anywhere and row < SMOOTH * after.get(usual, row):
        return Verdict.ONE
    return one if anywhere or one is Verdict.UNKNOWN else Verdict.PERHAPS_ONE


def _changes_after(values: Floats, most: int) -> dict[int, float]:
    """The mean change from each row to the second, third ... after it, up to `most` rows."""
    return {
        lag: float(np.nan_to_num(np.abs(values[lag:] - values[:-lag])).mean())
        for lag in range(2, min(most + 1, len(values) // 2))
    }


def _turns(values: Floats, least: float) -> int:
    """After how many rows values come again throughout, as those of a loop over devices do.

    Args:
        values: (n,), NaN where there is none.
        least: by what part of their mean they must differ within a round.
    """
    known = values[np.isfinite(values)]
    if len(known) < 2 * LEAST_ROUNDS:
        return 0
    row = float(np.abs(np.diff(known)).mean())
    after = _changes_after(known, min(MOST_ROUND, len(known) // LEAST_ROUNDS))
    again = (lag for lag, change in after.items() if change < REPEATED * row)
    return next((lag for lag in again if _in_step(known, lag, least)), 0)


def _in_step(values: Floats, many: int, least: float) -> bool:
    """Whether it is the place in a round of so many rows that tells their values apart."""
    rounds = values[: len(values) // many * many].reshape(-1, many)
    apart = rounds - rounds.mean(axis=1, keepdims=True)
    sizes = np.sqrt((apart**2).sum(axis=1))
    differ = float(np.median(np.ptp(rounds, axis=1))) > least * abs(float(values.mean()))
    if not differ:
        return False
    # Each round counts alike, whatever its load.
    shapes = apart[sizes > 0] / sizes[sizes > 0, None]
    parts = np.array_split(shapes, -(-len(shapes) // IN_STEP_ROUNDS))
    kept = [float((part.mean(axis=0) ** 2).sum()) for part in parts]
    return float(np.median(kept)) > IN_STEP


def _rises_once(values: Floats, boundaries: NDArray[np.intp], changes: Floats) -> bool:
    """Whether what repeats in every second goes up and down once, as a load does."""
    starts = np.concatenate(([0], boundaries + 1))
    spans = np.fmax.reduceat(values, starts) - np.fmin.reduceat(values, starts)
    return float(changes.sum()) < ONCE * float(np.nansum(spans))


def _flickers(counts: NDArray[np.intp]) -> bool:
    """Whether the rows of a second are now one more, now one fewer, as no number of devices is."""
    if len(counts) < FEW:
        return False
    return bool(np.ptp(counts) == 1 and (np.diff(counts) != 0).mean() > FLICKER)
