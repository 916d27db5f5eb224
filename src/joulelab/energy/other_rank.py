"""A measured block on a rank that leaves measuring to the first one of its node."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from joulelab.energy.job import Job
from joulelab.energy.measured_block import Measuring
from joulelab.energy.measurement import Measurement
from joulelab.energy.open_meters import OpenMeters
from joulelab.energy.order import already_started, no_result
from joulelab.energy.rank_notes import leave_note
from joulelab.energy.ranks import Rank
from joulelab.energy.reading import Reading, Status
from joulelab.energy.sample_buffer import ChannelSamples
from joulelab.energy.summary import trace_columns

if TYPE_CHECKING:
    import pandas as pd


class OtherRank(Measuring):
    """A block that this process does not measure: no meters, and no energy, with the reason.

    It never raises for want of energy: its trace is empty, and nothing is written to files. Its
    budget is spent when rank 0 says so (`joulelab.energy.agreement`). The recorder of the node
    learns which GPUs this process can use.

    Args:
        meters: for a copy in a process that measures.
        label: what is measured, for the result.
        rank: of this process.
        environments: as of `Measuring`.
    """

    def __init__(
        self,
        meters: Callable[[], OpenMeters],
        label: str,
        rank: Rank,
        environments: Sequence[Mapping[str, str]] | None = None,
    ) -> None:
        super().__init__(meters, label, environments)
        self._rank = rank
        self._began: tuple[float, float] | None = None

    def start(self) -> None:
        """Begin; no meter is opened.

        Raises:
            MeterError: it has begun before.
        """
        if self._began is not None:
            raise already_started(self.label)
        leave_note(self._rank, self._environments or [os.environ])
        self._began, self._result = (time.time(), time.monotonic()), None

    def stop(self) -> Measurement:
        """End; returns a measurement without energy.

        Raises:
            MeterError: it was never begun.
        """
        if self._began is not None:
            self._result = self.so_far()
            self._began = None
        return self.result

    def so_far(self) -> Measurement:
        """A measurement without energy."""
        if self._began is None:
            return self.result
        return unmeasured(self._rank, self.label, *self._began)

    def check(self) -> bool:
        """Whether the budget is spent, as rank 0 says; False where it cannot.

        Raises:
            BudgetSpentError: it is, and ``on_budget`` is ``"raise"``.
        """
        return self.budget is not None and self._check("", over=False)

    @property
    def result(self) -> Measurement:
        """The measurement without energy.

        Raises:
            MeterError: the block has not finished.
        """
        if self._result is None:
            raise no_result(self.label, started=self._began is not None)
        return self._result

    def __getitem__(self, domain: str) -> Reading:
        """A reading of any domain, without energy."""
        return _missing(self._rank, domain, self.result.duration_s)

    def trace(self) -> pd.DataFrame:
        """Empty."""
        import pandas as pd

        return pd.DataFrame(trace_columns([], 0.0))

    def save_trace(self, path: str | Path) -> None:
        """Nothing: the first rank of the node writes the file."""

    def __getstate__(self) -> dict[str, Any]:
        """As of `Measuring`."""
        if self._began is not None:
            self._began, began = None, self._began
            try:
                return super().__getstate__()
            finally:
                self._began = began
        return super().__getstate__()

    def __repr__(self) -> str:
        state = "open" if self._began else "finished" if self._result else "not begun"
        return f"<joulelab.measure({self.label!r}), measured by {self._rank.recorder}: {state}>"


class UnmeasuredWindow:
    """A window of a rank that does not measure: it has a duration, and no samples.

    Args:
        rank: of this process.
        label: what is not measured.
    """

    channel_samples: Sequence[ChannelSamples] = ()

    def __init__(self, rank: Rank, label: str) -> None:
        self._about = (rank, label)
        self.started_s = time.monotonic()
        self._began_at = time.time()
        self._measurement: Measurement | None = None

    def lap(self) -> UnmeasuredWindow:
        """End it, and begin the next."""
        self.close()
        return UnmeasuredWindow(*self._about)

    def close(self) -> Measurement:
        """End it; a second call returns the same."""
        if self._measurement is None:
            self._measurement = unmeasured(*self._about, self._began_at, self.started_s)
        return self._measurement


def unmeasured(rank: Rank, label: str, began_at: float, began_s: float) -> Measurement:
    """The measurement of a rank that does not measure.

    Args:
        rank: of this process.
        label: what is measured.
        began_at: seconds since the epoch.
        began_s: the same moment on the monotonic clock.
    """
    duration_s = time.monotonic() - began_s
    return Measurement(
        label=label,
        started_at=began_at,
        duration_s=duration_s,
        readings=(_missing(rank, "node", duration_s),),
        samples=0,
        longest_gap_s=duration_s,
        job=Job(rank.job, rank.ranks, ()),
    )


def _missing(rank: Rank, domain: str, duration_s: float) -> Reading:
    reason = f"measured by {rank.recorder}"
    return Reading(domain, "none", Status.MISSING, None, None, None, duration_s, reason)
