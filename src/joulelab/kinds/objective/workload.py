"""The workload of objectives: searches, each of which is a run of the study.

::

    outputs/00001/steps.jsonl                   the journal of the search of run 1
    outputs/00001/trials/0007-0/checkpoint      of trial 7, repetition 0
    outputs/00001/trials/0007-0/1-3/stdout.txt  what it printed from epoch 1 to 3
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, cast

from joulelab.budget import Budget, parse_budget
from joulelab.errors import SpecError
from joulelab.kinds.objective.curve import Curve, Spacing
from joulelab.kinds.objective.executor import ObjectiveExecutor, ObjectiveJob
from joulelab.kinds.objective.optuna_study import own_search
from joulelab.kinds.objective.spec import ObjectiveSpec
from joulelab.kinds.objective.trainer import ObjectiveTrainer
from joulelab.kinds.program.process import end_all, left_behind
from joulelab.kinds.program.worker import INSIDE, load
from joulelab.kinds.searching.growing import GrowingSearcher
from joulelab.kinds.searching.loop import FRESH, Asked
from joulelab.kinds.searching.outcome import Outcome
from joulelab.kinds.searching.workload import SearchWorkload
from joulelab.study.design import Configuration, derive_seed
from joulelab.study.listener import WorkloadSummary
from joulelab.study.plan import Group
from joulelab.study.planned_run import PlannedRun
from joulelab.study.runner import RunRecorder
from joulelab.study.session import Session
from joulelab.tuning.search import Step
from joulelab.tuning.space import SearchSpace

OUTPUTS = "outputs"
SEED_BITS = 31
log = logging.getLogger(__name__)


class ObjectiveWorkload(SearchWorkload):
    """Functions of the user that are tuned."""

    uses_gpu: ClassVar[bool] = False
    may_use_gpu: ClassVar[bool] = True

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._specs = {
            name: cast(ObjectiveSpec, spec) for name, spec in session.spec.experiments().items()
        }
        self._executor = session.executor(ObjectiveExecutor)
        self._files: list[Path] = []

    def load(self, configurations: Sequence[Configuration]) -> WorkloadSummary:
        """Import the objectives, and check that the budgets can be kept here."""
        if self.session.alone and (self.folder / OUTPUTS).is_dir():
            end_all(left_behind(INSIDE, str(self.folder)))
        for name in dict.fromkeys(one.experiment for one in configurations):
            spec = self._specs[name]
            self.check_budget(self._budget(spec), spec.place)
            _check_import(name, spec.function)
            self.session.listener.doing(f"importing {_short(spec.function)}")
            job = self._job(spec, name, _step(), Curve(0, 1, 1, Spacing(), 1.0), 0, self.temporary)
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

    def run(self, group: Group, pending: Sequence[PlannedRun], recorder: RunRecorder) -> None:
        """Run, or go on with, each search."""
        for run in pending:
            self._search(group.configuration, run, recorder)

    def close(self) -> None:
        """End the process, and remove temporary files."""
        self._executor.close()
        super().close()

    def _search(self, one: Configuration, run: PlannedRun, recorder: RunRecorder) -> None:
        spec = self._specs[one.experiment]
        folder = self.folder_of(run)
        cost = load(spec.cost) if spec.cost else None
        space = SearchSpace.from_dict(spec.space) if spec.space else None
        goals = 2 if spec.two_goals else 1
        searcher = GrowingSearcher(
            spec.strategy, run.seed, space, spec.epochs, cost, spec.seeds, goals, log.warning
        )
        trainer = ObjectiveTrainer(
            self.session,
            recorder,
            run,
            self.booking,
            self._executor,
            lambda step, curve: self._job(spec, one.title, step, curve, run.seed, folder),
            spec.sign,
            searcher,
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
                **({} if spec.seeds is None else {"seeds": spec.seeds}),
                **({"goals": sorted(spec.goals)} if spec.goals and spec.two_goals else {}),
            },
            budget=self._budget(spec),
            confirm=spec.confirm,
            target=None if spec.target is None else spec.sign * spec.target,
            goals=goals,
        )
        started_at = time.time()
        outcome, journal = self.searched(run, recorder, searcher, trainer, asked)
        values = _values(spec.sign, outcome, searcher.unasked)
        self.store(run, recorder, outcome, journal, started_at, values, spec.sign)

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
        own_seed = derive_seed(seed, what, step.repetition) >> (63 - SEED_BITS)
        return ObjectiveJob(
            label=f"{label}, trial {step.trial}",
            device=self.session.device.name,
            threads=self.session.threads,
            spec=cast(Any, spec),
            levels={},
            seed=own_seed,
            repetition=step.repetition,
            folder=(training / f"{step.start}-{step.end or 'end'}").absolute(),
            study=self.folder,
            limit_s=spec.timeout_s,
            trial=step.trial,
            proposed=step.values,
            curve=curve,
            training=training.absolute(),
        )

    @staticmethod
    def _budget(spec: ObjectiveSpec) -> Budget | None:
        return None if spec.budget is None else parse_budget(spec.budget)


def _check_import(experiment: str, function: str) -> None:
    """Refuse a file that trains when it is imported.

    Raises:
        SpecError: it runs a study of Optuna over the function.
    """
    place, _, name = function.rpartition(":")
    if place.endswith(".py") and (file := Path(place)).is_file():
        line = own_search(file.read_text(encoding="utf-8", errors="replace"), name)
        if line is not None:
            raise SpecError(
                f"{experiment}: {file.name}, line {line}, runs a study whenever it is imported",
                "put it under if __name__ == '__main__':",
            )


def _step() -> Step:
    return Step(0, {}, 0, 0, 1)


def _short(function: str) -> str:
    place, _, name = function.rpartition(":")
    return f"{Path(place).name if place.endswith('.py') else place}:{name}"


def _values(sign: float, outcome: Outcome, unasked: Mapping[str, str | None]) -> dict[str, Any]:
    """The columns of a run beside those of every search."""
    low, high = outcome.interval or (None, None)
    if sign < 0:
        low, high = high, low
    signed = {"confirmed": outcome.mean, "confirmed_low": low, "confirmed_high": high}
    return {
        **{name: None if one is None else sign * one for name, one in signed.items()},
        "confirmations": len(outcome.confirmed),
        "training_epochs": outcome.epochs,
        **({"unasked": json.dumps(unasked)} if unasked else {}),
    }
