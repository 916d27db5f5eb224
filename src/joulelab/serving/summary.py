"""One window in figures, under the names that results have."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from joulelab.formats import duration, significant
from joulelab.serving.results import Served
from joulelab.serving.saturation import load_of

Figure = float | int | str | None

KEPT = 0.01
"""A producer has kept its rate where it is off by at most this share."""

_PERCENTILES = (50, 95, 99)


def summary(served: Served, offered_per_s: float) -> dict[str, Figure]:
    """The figures of a window; what is unknown is ``None``.

    Args:
        served: the window.
        offered_per_s: mean rate of the arrival process.

    Returns:
        Counts of requests; rates per second; response times in seconds, from entering the queue to
        the answer; batches; ``model_share``, the time in the model by that of the window; and
        ``saturated``, 1 or 0.
    """
    load = load_of(served, offered_per_s)
    verdict = None if load is None else load.saturated
    busy_s = float(served.model_s.sum())
    sizes = served.batch_sizes
    return {
        "requests": len(served.due_s),
        "answered": served.answered,
        "dropped": len(served.due_s) - served.answered,
        "dropped_full": served.dropped_full,
        "unreadable": served.unreadable,
        "offered_per_s": offered_per_s,
        "sent_per_s": sent_per_s(served),
        "gap_error_p99_s": _percentile(gap_errors_s(served), 99),
        "throughput_per_s": served.throughput_per_s,
        **_responses(served.response_s),
        "batch_mean": float(sizes.mean()) if len(sizes) else None,
        "batch_largest": int(sizes.max()) if len(sizes) else None,
        "batches": len(sizes),
        "model_share": busy_s / served.duration_s if served.duration_s else None,
        "saturated": None if verdict is None else int(verdict),
    }


def due_per_s(served: Served) -> float | None:
    """The rate at which requests were due in this window; ``None`` for fewer than two."""
    return _rate(served.due_s)


def sent_per_s(served: Served) -> float | None:
    """The rate at which the producer sent; ``None`` where fewer than two entered the queue.

    Requests that found the queue full were sent as well: the pace is that of the others.
    """
    entered = ~np.isnan(served.sent_s)
    due, sent = _rate(served.due_s[entered]), _rate(served.sent_s[entered])
    all_due = due_per_s(served)
    if due is None or sent is None or all_due is None:
        return None
    return all_due * sent / due


def gap_errors_s(served: Served) -> NDArray[np.float64]:
    """How much each gap between two requests in a row differed from what was due, in seconds."""
    errors: NDArray[np.float64] = np.abs(np.diff(served.sent_s) - np.diff(served.due_s))
    return errors[~np.isnan(errors)]


def producer_in_words(served: Served) -> str:
    """A sentence on a producer that did not keep its rate; empty for one that did.

    Args:
        served: the window.
    """
    due, sent = due_per_s(served), sent_per_s(served)
    if due is None or sent is None or abs(sent / due - 1) <= KEPT:
        return ""
    late_s = float(np.nanmax(served.sent_s - served.due_s))
    jitter = duration(_percentile(gap_errors_s(served), 99))
    return (
        f"the producer sent {significant(sent)}/s of {significant(due)}/s: up to "
        f"{duration(late_s)} late, gaps off by {jitter} at the 99th percentile"
    )


def batch_histogram(served: Served) -> Mapping[int, int]:
    """How many batches there were of each size."""
    sizes, counts = np.unique(served.batch_sizes, return_counts=True)
    return dict(zip(sizes.tolist(), counts.tolist(), strict=True))


def _responses(responses_s: NDArray[np.float64]) -> dict[str, Figure]:
    some = len(responses_s) > 0
    return {
        "response_mean_s": float(responses_s.mean()) if some else None,
        **{f"response_p{p}_s": _percentile(responses_s, p) for p in _PERCENTILES},
        "response_max_s": float(responses_s.max()) if some else None,
    }


def _percentile(values: NDArray[np.float64], percentile: float) -> float | None:
    return float(np.percentile(values, percentile)) if len(values) else None


def _rate(times_s: NDArray[np.float64]) -> float | None:
    if len(times_s) < 2 or times_s[-1] <= times_s[0]:  # noqa: PLR2004 - a rate needs a gap
        return None
    return float((len(times_s) - 1) / (times_s[-1] - times_s[0]))
