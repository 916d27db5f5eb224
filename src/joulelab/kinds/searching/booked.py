"""The measuring side of a trainer: jobs booked in the ledger, and what they have spent."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TypeVar

from joulelab.energy.booking import Booking
from joulelab.energy.carbon.footprint import footprint
from joulelab.energy.measurement import Measurement
from joulelab.kinds.searching.spent import Spent
from joulelab.study.executor import Executor, Heartbeat, Job, Outcome
from joulelab.study.planned_run import PlannedRun
from joulelab.study.runner import RunRecorder
from joulelab.study.session import Session

KIND = "trial"
"""Of an entry in the ledger."""
JUDGING = "judging"
"""Of an entry for the trainings that judge what a search chose; they are not part of it."""

JobT = TypeVar("JobT", bound=Job)
R = TypeVar("R")


@dataclass
class Thinking:
    """What the search itself spent."""

    spent: Spent = field(default_factory=Spent)


class BookedTrainer:
    """Carries out jobs of a search, measured and booked; trainers derive from it.

    Args:
        session: of the study.
        recorder: books.
        run: the search.
        booking: origin of the electricity, if known.
    """

    def __init__(
        self, session: Session, recorder: RunRecorder, run: PlannedRun, booking: Booking | None
    ) -> None:
        self.session = session
        self.recorder = recorder
        self.run = run
        self._booking = booking

    @contextmanager
    def thinking(self) -> Iterator[Thinking]:
        """Measure the search's own work; the ledger has it as the tuner's."""
        measured = Thinking()
        with self.recorder.ledger.tuning():
            window = self.session.recorder.open("tuner")
            try:
                yield measured
            finally:
                measured.spent = self.spent(window.close(), 0.0)

    def spent(self, measurement: Measurement, epochs: float, share: float = 1.0) -> Spent:
        """What a measured work has spent, or a part of it.

        Args:
            measurement: of the work.
            epochs: of the part.
            share: of time and energy that belongs to the part.
        """
        total = self.session.counted(measurement)
        grams = None
        if self._booking is not None:
            begun, lasted = measurement.started_at, measurement.duration_s
            intensity, pue = self._booking.intensity, self._booking.pue
            grams = footprint(total.gross_j, total.error_j, begun, lasted, intensity, pue).grams
        return Spent(
            seconds=share * measurement.duration_s,
            epochs=epochs,
            joules=_part(total.gross_j, share),
            error_j=_part(total.error_j, share),
            grams=_part(grams, share),
            status=str(total.status),
            reason="" if total.gross_j is not None else why_unknown(measurement),
            too_short=total.too_short,
        )

    def booked(
        self,
        executor: Executor[JobT, R],
        job: JobT,
        kind: str = KIND,
        failure: Callable[[R], str | None] = lambda _: None,
    ) -> Outcome[R]:
        """Carry out a job, and enter it in the ledger.

        Args:
            executor: of the job.
            job: to carry out.
            kind: of the entry.
            failure: of a result, the error that it stands for; None for a success.

        Raises:
            KeyboardInterrupt: after booking.
        """
        ledger = self.recorder.ledger
        entry = ledger.begin(kind, time.time(), [self.run])

        def heard(heartbeat: Heartbeat) -> None:
            ledger.progress(entry, heartbeat.measurement)
            self.session.listener.progress(heartbeat, ledger.total(heartbeat.measurement))

        with ledger.paused(executor):
            outcome = executor.run(job, heard)
        ledger.switch("between")
        error = outcome.details or outcome.error
        state = outcome.state
        if outcome.result is not None and (told := failure(outcome.result)) is not None:
            state, error = "failed", told
        ledger.end(entry, state, outcome.measurement, error, [], part=True)
        ledger.book("waiting", outcome.waiting)
        if outcome.state == "interrupted":
            raise KeyboardInterrupt
        return outcome


def why_unknown(measurement: Measurement) -> str:
    """Why the energy of a measurement is unknown."""
    reasons = [f"{r.domain}: {r.reason}" for r in measurement.readings if r.gross_j is None]
    return "; ".join(reasons) or "there is no meter"


def _part(amount: float | None, share: float) -> float | None:
    return None if amount is None else share * amount
