"""Results of a serving session.

::

    due ──> sent ·········· started ──────────────> answered      one request
             | waits in the  | prepared, in the model |
             | queue         | with its batch         |
             |<--------------- response ------------->|

All times are seconds on the monotonic clock from the start of the window, which the processes of a
session share.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Times = NDArray[np.float64]
Counts = NDArray[np.int64]

QUEUE_FULL = "queue full"
UNREADABLE = "unreadable image"


@dataclass(frozen=True)
class Served:
    """One window, over n requests in the order of their arrival and b batches in theirs.

    Attributes:
        due_s: (n,) when each request should be sent, fixed beforehand.
        sent_s: (n,) when it entered the queue; NaN if it did not.
        started_s: (n,) when its batch was taken from the queue; NaN where it was not answered.
        answered_s: (n,) when its batch was answered; NaN where it was not.
        batch: (n,) the number of its batch, -1 where it was not answered.
        dropped: n reasons, each empty where the request was answered.
        batch_sizes: (b,) images that went into the model together.
        batch_started_s: (b,) when the batch was taken.
        batch_answered_s: (b,) when the model was done with it.
        waiting: (b,) requests in the queue when the batch was taken, its own among them.
        model_s: (b,) time in the model, with the way to the device.
        prepare_s: (b,) time in decoding and preparing images, or in taking prepared ones.
        duration_s: from the start of the window to the last answer.
        remarks: events, for instance that batches had to be halved.
    """

    due_s: Times
    sent_s: Times
    started_s: Times
    answered_s: Times
    batch: Counts
    dropped: Sequence[str]
    batch_sizes: Counts
    batch_started_s: Times
    batch_answered_s: Times
    waiting: Counts
    model_s: Times
    prepare_s: Times
    duration_s: float
    remarks: tuple[str, ...] = ()

    @property
    def answered(self) -> int:
        """Number of answered requests."""
        return int(np.count_nonzero(self.batch >= 0))

    @property
    def throughput_per_s(self) -> float:
        """Answers per second of the window."""
        return self.answered / self.duration_s if self.duration_s else 0.0

    @property
    def response_s(self) -> Times:
        """(answered,) from entering the queue to the answer, of the requests that were answered."""
        answered = ~np.isnan(self.answered_s)
        return self.answered_s[answered] - self.sent_s[answered]

    @property
    def dropped_full(self) -> int:
        """Number of requests that found the queue full."""
        return sum(reason == QUEUE_FULL for reason in self.dropped)

    @property
    def unreadable(self) -> int:
        """Number of requests with an unreadable image."""
        return sum(reason.startswith(UNREADABLE) for reason in self.dropped)


@dataclass(frozen=True)
class Batches:
    """Batches of one size, one after the other.

    Attributes:
        size: images in a batch.
        asked: requested batch size; larger than `size` if it did not fit in memory.
        durations_s: (b,) of each batch, from the first image to the answer.
        model_s: (b,) of it in the model.
        prepare_s: (b,) of it in preparing images.
        unreadable: number of unreadable images, each replaced by another one.
        remarks: events.
    """

    size: int
    asked: int
    durations_s: Times
    model_s: Times
    prepare_s: Times
    unreadable: int = 0
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Sendings:
    """The producer's record of a window.

    Attributes:
        due_s: (n,) see `Served`.
        sent_s: (n,) see `Served`.
        unreadable: why an image could not be read, by the number of the request.
    """

    due_s: Times
    sent_s: Times
    unreadable: dict[int, str]


@dataclass(frozen=True)
class BatchRecord:
    """The server's record of a batch.

    Attributes:
        requests: numbers of its requests.
        started_s: on the monotonic clock.
        answered_s: on the monotonic clock.
        waiting: requests in the queue when it was taken.
        model_s: time in the model.
        prepare_s: time in preparing its images.
    """

    requests: Sequence[int]
    started_s: float
    answered_s: float
    waiting: int
    model_s: float
    prepare_s: float


@dataclass(frozen=True)
class Answers:
    """The server's record of a window.

    Attributes:
        batches: in the order in which they were answered.
        unreadable: why an image could not be read, by the number of the request.
        remarks: see `Served`.
    """

    batches: Sequence[BatchRecord]
    unreadable: dict[int, str]
    remarks: tuple[str, ...]


def served(sendings: Sendings, answers: Answers, start_s: float, names: Sequence[str]) -> Served:
    """Merge the records of producer and server.

    Args:
        sendings: of the producer.
        answers: of the server.
        start_s: the start of the window on the monotonic clock.
        names: n names of images.
    """
    count, batches = len(sendings.due_s), answers.batches
    started_s, answered_s = np.full((2, count), np.nan)
    batch = np.full(count, -1, np.int64)
    for number, one in enumerate(batches):
        rows = list(one.requests)
        started_s[rows], answered_s[rows] = one.started_s - start_s, one.answered_s - start_s
        batch[rows] = number
    ended_s = np.array([one.answered_s - start_s for one in batches])
    return Served(
        due_s=sendings.due_s,
        sent_s=sendings.sent_s,
        started_s=started_s,
        answered_s=answered_s,
        batch=batch,
        dropped=_reasons(batch, sendings.unreadable | answers.unreadable, names),
        batch_sizes=np.array([len(one.requests) for one in batches], np.int64),
        batch_started_s=np.array([one.started_s - start_s for one in batches]),
        batch_answered_s=ended_s,
        waiting=np.array([one.waiting for one in batches], np.int64),
        model_s=np.array([one.model_s for one in batches]),
        prepare_s=np.array([one.prepare_s for one in batches]),
        duration_s=float(ended_s[-1]) if len(ended_s) else float(sendings.due_s[-1]),
        remarks=answers.remarks,
    )


def _reasons(batch: Counts, unreadable: Mapping[int, str], names: Sequence[str]) -> list[str]:
    """Why each request was dropped; empty for those that were answered."""
    reasons = [""] * len(batch)
    for row in np.flatnonzero(batch < 0).tolist():
        known = row in unreadable
        reasons[row] = f"{UNREADABLE}: {names[row]}: {unreadable[row]}" if known else QUEUE_FULL
    return reasons
