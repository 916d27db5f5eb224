"""The workload of objectives: searches, each of which is a run of the study.

::

    outputs/00001/steps.jsonl                   the journal of the search of run 1
    outputs/00001/trials/0007-0/checkpoint      of trial 7, repetition 0
    outputs/00001/trials/0007-0/1-3/stdout.txt  what it printed from epoch 1 to 3
"""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, cast

from joulelab.energy.booking import Booking
from joulelab.errors import MeterError, SpecError
from joulelab.kinds.objective.curve import Curve
from joulelab.kinds.objective.executor import ObjectiveExecutor, ObjectiveJob
from joulelab.kinds.objective.spec import ObjectiveSpec
from joulelab.kinds.objective.trainer import KIND, ObjectiveTrainer, why_unknown
from joulelab.kinds.program.process import end_all, left_behind
from joulelab.kinds.program.worker import INSIDE, load
from joulelab.kinds.searching.growing import GrowingSearcher
from joulelab.kinds.searching.journal import STEPS, Journal
from joulelab.kinds.searching.loop import FRESH, Asked, Outcome, run_search
from joulelab.kinds.searching.spent import Spent
from joulelab.kinds.searching.tables import curve_columns
from joulelab.study.call_workload import NOT_COUNTED
from joulelab.study.design import Configuration, derive_seed
from joulelab.study.listener import WorkloadSummary
from joulelab.study.plan import Group
from joulelab.study.prediction import Prediction
from joulelab.study.runner import Calibrator, Row, RunRecorder
from joulelab.study.session import Session
from joulelab.study.store import PlannedRun
from joulelab.study.store_reading import CURVES, read_rows
from joulelab.study.workload import Workload
from joulelab.tuning.budget import Budget, parse_budget
from joulelab.tuning.search import Step
from joulelab.tuning.space import SearchSpace

OUTPUTS = "outputs"
SEED_BITS = 31


class ObjectiveWorkload(Workload):
    """Functions of the user that are tuned."""

    uses_gpu: ClassVar[bool] = False
    may_use_gpu: ClassVar[bool] = True

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._specs = {
            name: cast(ObjectiveSpec, spec) for name, spec in session.spec.experiments().items()
        }
        self._temporary = Path(tempfile.mkdtemp(prefix="joulelab-"))
        self._folder = (session.folder or self._temporary).absolute()
        self._executor = session.executor(ObjectiveExecutor)
        self._files: list[Path] = []
        self._booking: Booking | None = None

    def load(self, configurations: Sequence[Configuration]) -> WorkloadSummary:
        """Import the objectives, and check that the budgets can be kept here."""
        if (self._folder / OUTPUTS).is_dir():
            end_all(left_behind(INSIDE, str(self._folder)))
        for name in dict.fromkeys(one.experiment for one in configurations):
            spec = self._specs[name]
            self._check_budget(spec)
            self.session.listener.doing(f"importing {_short(spec.function)}")
            job = self._job(spec, name, _step(), Curve(0, 1, 1, None, 1.0), 0, self._temporary)
            try:
                self._files += map(Path, self._executor.check(job)["files"])
            except SpecError as error:
                raise SpecError(f"{name}: {error.message}", error.hint) from error
        names = [_short(self._specs[one.experiment].function) for one in configurations]
        return WorkloadSummary(
            means=", ".join(dict.fromkeys(names)),
            noun="search",
            extent="of an objective",
            basis="the budget of a search",
        )

    def files(self) -> list[Path]:
        """The modules that the objectives have imported from their folders."""
        return self._files

    def predict(
        self, configurations: Sequence[Configuration], calibrator: Calibrator, *, brief: bool
    ) -> Prediction:
        """Nothing: a search ends with its budget, or when it does not gain any more."""
        return Prediction({}, {}, 0.0)

    def run(self, group: Group, pending: Sequence[PlannedRun], recorder: RunRecorder) -> None:
        """Run, or go on with, each search."""
        for run in pending:
            self._search(group.configuration, run, recorder)

    def close(self) -> None:
        """End the process, and remove temporary files."""
        self._executor.close()
        shutil.rmtree(self._temporary, ignore_errors=True)

    def _search(self, one: Configuration, run: PlannedRun, recorder: RunRecorder) -> None:
        spec = self._specs[one.experiment]
        folder = self._folder / OUTPUTS / f"{run.position + 1:05d}"
        journal = Journal(folder / STEPS)
        self._note_lost(journal, run, recorder)
        cost = load(spec.cost) if spec.cost else None
        space = SearchSpace.from_dict(spec.space) if spec.space else None
        searcher = GrowingSearcher(spec.strategy, run.seed, space, spec.epochs, cost)
        trainer = ObjectiveTrainer(
            self.session,
            self._executor,
            recorder,
            run,
            lambda step, curve: self._job(spec, one.title, step, curve, run.seed, folder),
            self._booking,
            spec.sign,
            lambda: searcher.epochs,
        )
        asked = Asked(
            header={
                "strategy": spec.strategy,
                "seed": run.seed,
                "space": space.to_dict() if space else {},
                "epochs": spec.epochs,
                "direction": spec.direction,
                "confirm": spec.confirm,
                "target": spec.target,
            },
            budget=self._budget(spec),
            confirm=spec.confirm,
            target=None if spec.target is None else spec.sign * spec.target,
        )
        started_at = time.time()
        recorder.ledger.switch("between")
        outcome = run_search(searcher, trainer, journal, asked, self.session.listener.searching)
        self._store(run, spec, outcome, journal, recorder, started_at)

    def _store(
        self,
        run: PlannedRun,
        spec: ObjectiveSpec,
        outcome: Outcome,
        journal: Journal,
        recorder: RunRecorder,
        started_at: float,
    ) -> None:
        """Store the run: its energy is the sum over the journal."""
        window = self.session.recorder.open("end")
        entry = recorder.ledger.begin("between", started_at, [run])
        spent = outcome.spent
        row: Row = {
            "run_id": run.run_id,
            "state": "failed" if outcome.failure else "finished",
            "error": outcome.failure or None,
            "attempts": max(recorder.ledger.session, 1),
            "device": self.session.device.name,
            "scale": 1.0,
            "group_size": 1,
            "energy_gross_j": spent.joules,
            "energy_error_j": spent.error_j,
            "energy_status": spent.status,
            "duration_s": spent.seconds,
            "started_at": started_at,
            "metrics": json.dumps({"flops_reason": NOT_COUNTED, "values": _values(spec, outcome)}),
        }
        columns = curve_columns(journal.lines, spec.sign)
        if columns is not None:
            recorder.store.write_table(CURVES, entry, run.run_id, columns)
        recorder.ledger.end(
            entry, str(row["state"]), window.close(), outcome.failure or None, [row]
        )

    def _note_lost(self, journal: Journal, run: PlannedRun, recorder: RunRecorder) -> None:
        """Enter what interrupted steps have spent, by the ledger, each once."""
        known = {line["entry"] for line in journal.lines if "lost" in line}
        for rows in read_rows(recorder.store.folder, "ledger"):
            for row in rows:
                mine = row["kind"] == KIND and run.run_id in row["runs"]
                if mine and row["state"] == "interrupted" and row["entry"] not in known:
                    lost = Spent(
                        seconds=row["duration_s"] or 0.0,
                        joules=row["energy_gross_j"] if row["duration_s"] else 0.0,
                        error_j=row["energy_error_j"] if row["duration_s"] else 0.0,
                        grams=None if self._booking is None else self._grams(row),
                        status=row["energy_status"] if row["duration_s"] else Spent().status,
                    )
                    journal.append({"lost": lost.to_dict(), "entry": row["entry"]})

    def _grams(self, row: Mapping[str, Any]) -> float | None:
        from joulelab.energy.carbon.footprint import footprint

        assert self._booking is not None
        intensity, pue = self._booking.intensity, self._booking.pue
        taken = (row["energy_gross_j"], None, row["started_at"], row["duration_s"] or 0.0)
        return footprint(*taken, intensity, pue).grams

    def _job(
        self,
        spec: ObjectiveSpec,
        label: str,
        step: Step,
        curve: Curve,
        seed: int,
        folder: Path,
    ) -> ObjectiveJob:
        training = folder / "trials" / f"{step.trial:04d}-{step.repetition}"
        what = "confirm" if step.repetition >= FRESH else "trial"
        own_seed = derive_seed(seed, what, step.trial, step.repetition) >> (63 - SEED_BITS)
        return ObjectiveJob(
            label=f"{label}, trial {step.trial}",
            device=self.session.device.name,
            threads=self.session.threads,
            spec=cast(Any, spec),
            levels={},
            seed=own_seed,
            repetition=step.repetition,
            folder=(training / f"{step.start}-{step.end or 'end'}").absolute(),
            study=self._folder,
            limit_s=spec.timeout_s,
            trial=step.trial,
            proposed=step.values,
            curve=curve,
            training=training.absolute(),
        )

    @staticmethod
    def _budget(spec: ObjectiveSpec) -> Budget | None:
        return None if spec.budget is None else parse_budget(spec.budget)

    def _check_budget(self, spec: ObjectiveSpec) -> None:
        """Check that a budget of energy can be measured or estimated here.

        Raises:
            MeterError: it cannot.
            SpecError: a budget in grams needs a place.
        """
        self._booking = Booking.of(spec.place, None)
        budget = self._budget(spec)
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
        if budget.unit == "grams" and self._booking is None:
            raise SpecError(
                f"the budget of {budget} needs the origin of the electricity",
                "give a place, such as NLD",
            )


def _step() -> Step:
    return Step(0, {}, 0, 0, 1)


def _short(function: str) -> str:
    place, _, name = function.rpartition(":")
    return f"{Path(place).name if place.endswith('.py') else place}:{name}"


def _values(spec: ObjectiveSpec, outcome: Outcome) -> dict[str, Any]:
    """The columns of a run beside the common ones."""
    low, high = outcome.interval or (None, None)
    if spec.sign < 0:
        low, high = high, low
    signed: Callable[[float | None], float | None] = lambda one: (  # noqa: E731 - of two lines
        None if one is None else spec.sign * one
    )
    parts: dict[str, float | None] = {}
    for kind, spent in outcome.parts.items():
        parts |= {f"{kind}_j": spent.joules, f"{kind}_s": spent.seconds}
    return {
        "score": signed(outcome.score),
        "confirmed": signed(outcome.mean),
        "confirmed_low": signed(low),
        "confirmed_high": signed(high),
        "confirmations": len(outcome.confirmed),
        "best_trial": outcome.trial,
        "best": json.dumps(dict(outcome.values)),
        "stopped": outcome.stopped,
        "training_epochs": outcome.epochs,
        "epochs": outcome.spent.epochs,
        "grams": outcome.spent.grams,
        **parts,
    }
