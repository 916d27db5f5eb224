"""The common part of workloads whose runs are searches.

::

    outputs/00001/steps.jsonl       the journal of the search of run 1
"""

from __future__ import annotations

import json
import math
import shutil
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from joulelab.budget import Budget
from joulelab.energy.booking import Booking
from joulelab.energy.carbon.footprint import footprint
from joulelab.energy.reading import Status, Total
from joulelab.errors import MeterError, SpecError
from joulelab.kinds.searching.booked import JUDGING, KIND, why_unknown
from joulelab.kinds.searching.journal import STEPS, Journal
from joulelab.kinds.searching.keys import ENERGY, RETURNED
from joulelab.kinds.searching.loop import Asked, run_search
from joulelab.kinds.searching.outcome import Outcome
from joulelab.kinds.searching.spent import UNHEARD, Spent
from joulelab.kinds.searching.steps import Searcher, Trainer
from joulelab.kinds.searching.tables import curve_columns
from joulelab.study.call_workload import NOT_COUNTED
from joulelab.study.design import Configuration
from joulelab.study.planned_run import PlannedRun
from joulelab.study.prediction import Prediction
from joulelab.study.runner import Calibrator, Row, RunRecorder
from joulelab.study.session import Session
from joulelab.study.store_reading import CURVES
from joulelab.study.workload import Workload

OUTPUTS = "outputs"
OF_STEPS = "a search is measured step by step"
"""Why a search has no utilisation."""


class SearchWorkload(Workload):
    """Searches, each of which is a run of the study."""

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self.temporary = Path(tempfile.mkdtemp(prefix="joulelab-"))
        self.folder = (session.folder or self.temporary).absolute()
        self.booking: Booking | None = None

    def predict(
        self, configurations: Sequence[Configuration], calibrator: Calibrator, *, brief: bool
    ) -> Prediction:
        """Nothing: a search ends with its budget, or when it does not gain any more."""
        return Prediction({}, {}, 0.0)

    def close(self) -> None:
        """Remove temporary files."""
        shutil.rmtree(self.temporary, ignore_errors=True)

    def check_budget(self, budget: Budget | None, place: str | float | None = None) -> None:
        """Check that a budget of energy can be measured or estimated here.

        Raises:
            MeterError: it cannot.
            SpecError: a budget in grams needs a place.
        """
        self.booking = Booking.of(place, None)
        if budget is None or budget.unit not in {"joules", "grams"}:
            return
        window = self.session.recorder.open("check")
        time.sleep(2 * self.session.spec.energy.interval_s)
        measurement = window.close()
        if self.session.counted(measurement).gross_j is None:
            raise MeterError(
                f"the budget of {budget} cannot be kept: {why_unknown(measurement)}",
                "`joulelab doctor` says which meters work here; or give a budget in epochs or time",
            )
        if budget.unit == "grams" and self.booking is None:
            raise SpecError(
                f"the budget of {budget} needs the origin of the electricity",
                "give a place, such as NLD",
            )

    def folder_of(self, run: PlannedRun) -> Path:
        """The folder of a search."""
        return self.folder / OUTPUTS / f"{run.position + 1:05d}"

    def searched(
        self,
        run: PlannedRun,
        recorder: RunRecorder,
        searcher: Searcher,
        trainer: Trainer,
        asked: Asked,
    ) -> tuple[Outcome, Journal]:
        """Run a search, or go on with it; what was interrupted is entered in its journal."""
        self.session.listener.started([run])
        journal = Journal(self.folder_of(run) / STEPS)
        self._note_lost(journal, run, recorder)
        recorder.ledger.switch("between")
        outcome = run_search(searcher, trainer, journal, asked, self.session.listener.searching)
        return outcome, journal

    def store(
        self,
        run: PlannedRun,
        recorder: RunRecorder,
        outcome: Outcome,
        journal: Journal,
        started_at: float,
        values: Mapping[str, Any],
        sign: float = 1.0,
        **columns: Any,  # noqa: ANN401 - of any column
    ) -> None:
        """Store the run: its energy is the sum over the journal.

        Args:
            run: the search.
            recorder: stores.
            outcome: of the search.
            journal: of the search.
            started_at: when it was begun or gone on with, seconds since the epoch.
            values: of the kind, beside those of every search.
            sign: -1 where lower scores are better.
            columns: of the runs table, beside the common ones.
        """
        window = self.session.recorder.open("end")
        entry = recorder.ledger.begin("between", started_at, [run])
        spent = outcome.spent
        common = {
            "score": None if outcome.score is None else sign * outcome.score,
            "best_trial": outcome.trial,
            "best": json.dumps(dict(outcome.values)),
            "stopped": outcome.stopped,
            **_texts(shortfall=outcome.shortfall, advice=outcome.advice),
            "epochs": spent.epochs,
            "grams": spent.grams,
            **knee_columns(outcome, sign),
            **{f"{kind}_j": part.joules for kind, part in outcome.parts.items()},
            **{f"{kind}_s": _finite(part.seconds) for kind, part in outcome.parts.items()},
        }
        row: Row = {
            "run_id": run.run_id,
            "state": "failed" if outcome.failure else "finished",
            "error": outcome.failure or None,
            "attempts": 1 + self._interruptions(run, recorder),
            "device": self.session.device.name,
            "scale": self.session.spec.scale,
            "group_size": 1,
            "energy_gross_j": spent.joules,
            "energy_error_j": spent.error_j,
            "energy_status": spent.status,
            "utilisation": json.dumps({"reason": OF_STEPS}),
            "duration_s": _finite(spent.seconds),
            "started_at": started_at,
            "metrics": json.dumps({"flops_reason": NOT_COUNTED, "values": {**common, **values}}),
            **columns,
        }
        table = curve_columns(journal.lines, sign)
        if table is not None:
            recorder.store.write_table(CURVES, entry, run.run_id, table)
        recorder.ledger.end(
            entry, str(row["state"]), window.close(), outcome.failure or None, [row]
        )
        status = Status(spent.status)
        total = Total(status, spent.joules, None, spent.error_j, (), ())
        self.session.listener.finished([row], total)

    @staticmethod
    def _interruptions(run: PlannedRun, recorder: RunRecorder) -> int:
        return sum(len(recorder.store.interrupted(one, run.run_id)) for one in (KIND, JUDGING))

    def _note_lost(self, journal: Journal, run: PlannedRun, recorder: RunRecorder) -> None:
        """Enter what interrupted steps have spent, by the ledger, each once."""
        known = {line["entry"] for line in journal.lines if "lost" in line}
        for row in recorder.store.interrupted(KIND, run.run_id):
            if row["entry"] not in known:
                lost = self._lost(row) if row["duration_s"] else UNHEARD
                journal.append({"lost": lost.to_dict(), "entry": row["entry"]})

    def _lost(self, row: Mapping[str, Any]) -> Spent:
        grams = None
        if self.booking is not None:
            taken = (row["energy_gross_j"], None, row["started_at"], row["duration_s"])
            grams = footprint(*taken, self.booking.intensity, self.booking.pue).grams
        return Spent(
            seconds=row["duration_s"],
            joules=row["energy_gross_j"],
            error_j=row["energy_error_j"],
            grams=grams,
            status=row["energy_status"],
            too_short=bool(row["too_short"]),
        )


def knee_columns(outcome: Outcome, sign: float) -> dict[str, Any]:
    """With two goals: the second goal of the best trial, and the trial at the knee of the front."""
    if outcome.second is None:
        return {}
    goal = RETURNED if outcome.returned else ENERGY[0]
    columns: dict[str, Any] = {"second": outcome.second, "second_goal": goal}
    if (knee := outcome.knee) is not None and knee.score is not None:
        columns |= {
            "knee_trial": knee.trial,
            "knee": json.dumps(dict(knee.values)),
            "knee_score": sign * knee.score,
            "knee_second": knee.second,
        }
        if knee.mean is not None:
            columns["knee_confirmed"] = sign * knee.mean
    return columns


def _texts(**texts: str) -> dict[str, str]:
    """Those that are not empty."""
    return {name: text for name, text in texts.items() if text}


def _finite(seconds: float) -> float | None:
    """None where replayed trials have no times."""
    return seconds if math.isfinite(seconds) else None
