"""Prediction of a study from one timed run of each configuration, while time allows."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any

from joulelab.study.design import Configuration
from joulelab.study.executor import Outcome
from joulelab.study.prediction import ASSUMED_SCATTER, BUDGET_S, Estimate, Prediction
from joulelab.study.session import Session

BRIEF_S = 10.0
"""Time limit for timing runs at the beginning of a study."""
LEAST_S = 1e-9

TimedRun = Callable[[Configuration, int, float], Outcome[Any]]
"""Carries out a run: its configuration, its seed, and the seconds that are left."""


def predict_by_timing(
    session: Session, configurations: Sequence[Configuration], run: TimedRun, *, brief: bool
) -> Prediction:
    """Carry out a run of each configuration until time is up.

    The others are assumed to cost the mean of these, plus or minus 100 %.

    Args:
        session: of the study.
        configurations: at least one.
        run: carries out the run that is timed.
        brief: whether to stop after `BRIEF_S`.
    """
    ends_s = time.monotonic() + (BRIEF_S if brief else BUDGET_S)
    estimates: dict[str, Estimate] = {}
    for one in configurations:
        left_s = ends_s - time.monotonic()
        if estimates and left_s <= 0:
            break
        began_s = time.monotonic()
        outcome = run(one, one.seed(session.spec.seed, "calibration"), left_s)
        took_s = time.monotonic() - began_s - outcome.locked_out_s
        estimates[one.title] = _estimate(session, outcome, took_s)
    mean_s = statistics.fmean(one.duration_s for one in estimates.values())
    for one in configurations:
        estimates.setdefault(one.title, Estimate.unknown(mean_s))
    return Prediction({one.key: one.title for one in configurations}, estimates, ASSUMED_SCATTER)


def _estimate(session: Session, outcome: Outcome[Any], took_s: float) -> Estimate:
    """The estimate of a run from one that was carried out to time it.

    Args:
        session: says which domains count.
        outcome: of the timed run.
        took_s: its time with what surrounds it.
    """
    duration_s = outcome.measurement.duration_s
    if outcome.result is None or duration_s <= 0:
        return Estimate.unknown(max(took_s, LEAST_S))
    total = session.counted(outcome.measurement)
    energy_j = total.net_j if total.net_j is not None else total.gross_j
    error_w = None if total.error_j is None else total.error_j / duration_s
    around_s = max(took_s - duration_s, 0.0)
    return Estimate.assumed(duration_s, around_s, energy_j, error_w, total.status)
