"""Summary numbers of one window, and whether its server kept up.

A server that does not keep up has a queue that grows without bound. With

    r     images answered per second in which the server was busy
    r_L   the same of batches of the largest size seen, L, if there were at least two
    f     requests per second that arrived
    B     requests that were in the system when the last one arrived

A server that keeps up is busy for no longer than requests arrive, so r >= f. One that does not has
full batches, and even these are slower than f. The verdict, in this order:

1. a request found the queue full: saturated;
2. r < f, and B > 4 L, which a policy that takes what waits would not have left: saturated;
3. r >= f, or r >= 0.95 f and r_L is unknown or at least f: not saturated;
4. r_L < 0.95 f: saturated;
5. else unknown: batches still grew when the window ended, and larger ones may be faster, or the
   server is so close to its limit that the window is too short.

So a policy that only waits for its batch does not look like a slow server.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

import numpy as np

from joulelab.formats import duration, significant
from joulelab.serving.results import Served, Times

Figure = float | int | str | None

KEPT = 0.01
"""A rate is kept if it is off by at most this share."""

_MARGIN = 0.95
_BATCHES_BEHIND = 4
_AT_LEAST = 2


@dataclass(frozen=True)
class Spread:
    """Mean and quantiles of some times in seconds; ``None`` if there are none."""

    mean_s: float | None = None
    p50_s: float | None = None
    p95_s: float | None = None
    p99_s: float | None = None
    max_s: float | None = None

    @classmethod
    def of(cls, times_s: Times) -> Spread:
        """Of (n,) seconds."""
        if not len(times_s):
            return cls()
        p50_s, p95_s, p99_s = np.quantile(times_s, (0.5, 0.95, 0.99)).tolist()
        return cls(float(times_s.mean()), p50_s, p95_s, p99_s, float(times_s.max()))


def mean_rate_per_s(times_s: Times) -> float | None:
    """Events per second between the first and the last of (n,) times; ``None`` without a gap."""
    if len(times_s) < _AT_LEAST or times_s[-1] <= times_s[0]:
        return None
    return float((len(times_s) - 1) / (times_s[-1] - times_s[0]))


def summary(served: Served, offered_per_s: float) -> dict[str, Figure]:
    """The summary numbers of a window; unknown ones are ``None``.

    Args:
        served: the window.
        offered_per_s: mean rate of the arrival process.

    Returns:
        Counts of requests; rates per second; response times in seconds, from entering the queue to
        the answer; batches; ``model_share``, the time in the model over the window's; and
        ``saturated``, 1 or 0.
    """
    load = load_of(served, offered_per_s)
    verdict = None if load is None else load.saturated
    responses = asdict(Spread.of(served.response_s))
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
        "gap_error_p99_s": Spread.of(gap_errors_s(served)).p99_s,
        "throughput_per_s": served.throughput_per_s,
        **{f"response_{name}": value for name, value in responses.items()},
        "batch_mean": float(sizes.mean()) if len(sizes) else None,
        "batch_largest": int(sizes.max()) if len(sizes) else None,
        "batches": len(sizes),
        "model_share": busy_s / served.duration_s if served.duration_s else None,
        "saturated": None if verdict is None else int(verdict),
    }


def sent_per_s(served: Served) -> float | None:
    """The rate at which the producer sent; ``None`` where fewer than two entered the queue.

    Requests that found the queue full were sent as well: the pace is that of the others.
    """
    entered = ~np.isnan(served.sent_s)
    due, sent = mean_rate_per_s(served.due_s[entered]), mean_rate_per_s(served.sent_s[entered])
    all_due = mean_rate_per_s(served.due_s)
    if due is None or sent is None or all_due is None:
        return None
    return all_due * sent / due


def gap_errors_s(served: Served) -> Times:
    """Deviation of each gap between consecutive requests from the due gap, in seconds."""
    errors: Times = np.abs(np.diff(served.sent_s) - np.diff(served.due_s))
    return errors[~np.isnan(errors)]


def producer_in_words(served: Served) -> str:
    """A sentence on a producer that did not keep its rate; empty for one that did.

    Args:
        served: the window.
    """
    due, sent = mean_rate_per_s(served.due_s), sent_per_s(served)
    if due is None or sent is None or abs(sent / due - 1) <= KEPT:
        return ""
    late_s = float(np.nanmax(served.sent_s - served.due_s))
    jitter = duration(Spread.of(gap_errors_s(served)).p99_s)
    return (
        f"the producer sent {significant(sent)}/s of {significant(due)}/s: up to "
        f"{duration(late_s)} late, gaps off by {jitter} at the 99th percentile"
    )


def batch_histogram(served: Served) -> Mapping[int, int]:
    """Number of batches of each size."""
    sizes, counts = np.unique(served.batch_sizes, return_counts=True)
    return dict(zip(sizes.tolist(), counts.tolist(), strict=True))


@dataclass(frozen=True)
class Load:
    """The load and capacity of a server.

    Attributes:
        arrived_per_s: f.
        busy_per_s: r.
        full_per_s: r_L; ``None`` where there was one batch of that size only.
        behind: B.
        largest: L.
        dropped_full: requests that found the queue full.
    """

    arrived_per_s: float
    busy_per_s: float
    full_per_s: float | None
    behind: int
    largest: int
    dropped_full: int

    @property
    def saturated(self) -> bool | None:
        """Whether the queue grew without bound; ``None`` where the window is too short to tell."""
        if self.dropped_full:
            return True
        busy = self.busy_per_s / self.arrived_per_s
        full = None if self.full_per_s is None else self.full_per_s / self.arrived_per_s
        if busy < 1 and self.behind > _BATCHES_BEHIND * self.largest:
            return True
        if busy >= 1 or (busy >= _MARGIN and (full is None or full >= 1)):
            return False
        return True if full is not None and full < _MARGIN else None


def load_of(served: Served, offered_per_s: float) -> Load | None:
    """Compute the load and capacity of the server in a window.

    Args:
        served: the window.
        offered_per_s: mean rate of the arrival process.

    Returns:
        ``None`` if nothing was answered.
    """
    sizes = served.batch_sizes
    if not len(sizes):
        return None
    ends_s = served.batch_answered_s
    # A batch that starts while the previous one runs was taken together with it.
    starts_s = np.maximum(served.batch_started_s, np.concatenate(([-np.inf], ends_s[:-1])))
    took_s = ends_s - starts_s
    largest = int(sizes.max())
    full = sizes == largest
    entered_s = served.sent_s[~np.isnan(served.sent_s)]
    last_s = entered_s[-1]
    answered = int(np.count_nonzero(served.answered_s <= last_s))
    full_per_s = largest / float(np.median(took_s[full])) if full.sum() >= _AT_LEAST else None
    return Load(
        arrived_per_s=min(offered_per_s, len(served.due_s) / last_s),
        busy_per_s=float(sizes.sum() / took_s.sum()),
        full_per_s=full_per_s,
        behind=len(entered_s) - answered,
        largest=largest,
        dropped_full=served.dropped_full,
    )


def saturation_in_words(served: Served, offered_per_s: float) -> str:
    """A sentence on a server that did not keep up, or may not have; empty for one that did.

    Args:
        served: the window.
        offered_per_s: mean rate of the arrival process.
    """
    load = load_of(served, offered_per_s)
    if load is None:
        return "nothing was answered"
    rates = (
        f"offered {significant(offered_per_s)}/s, served {significant(served.throughput_per_s)}/s"
    )
    if load.dropped_full:
        return (
            f"{rates}: the queue was full, and {load.dropped_full} of {len(served.due_s)} requests "
            "were dropped"
        )
    if load.saturated:
        return f"{rates}: the queue grew without bound"
    if load.saturated is None:
        return f"{rates}: the window is too short to tell whether the queue grows without bound"
    return ""
