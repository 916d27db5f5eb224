"""The workload of replayed tuning: searches on recorded trials, each a run of the study.

::

    search ─ step ─► rows of the table ─ scores, joules, seconds ─► search
    best values ─► their recorded repetitions, by the column `judged` ─► run

The joules and seconds of steps and runs are those of the table, with the status "replayed"; nothing
of them is in the ledger, which books what the searches themselves use here, as the tuner's. The
budget and the decisions do not depend on this machine. The journal of a search stays in memory: a
search that was interrupted begins again.
"""

from __future__ import annotations

import inspect
import math
import statistics
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any, ClassVar, cast

from joulelab.budget import Budget, parse_budget
from joulelab.energy.reading import Status
from joulelab.errors import StoreMismatchError, UsageError
from joulelab.kinds.replayed_tuning.spec import (
    ReplayedConfiguration,
    ReplayedTuningSpec,
    TableKeys,
)
from joulelab.kinds.replayed_tuning.stored_trials import is_results_folder, stored_trials
from joulelab.kinds.searching.booked import Thinking
from joulelab.kinds.searching.journal import Journal
from joulelab.kinds.searching.loop import FRESH, Asked, run_search
from joulelab.kinds.searching.spent import Spent
from joulelab.kinds.searching.steps import Limit, PlainSearcher, Purpose, Result
from joulelab.kinds.searching.workload import SearchWorkload
from joulelab.report.experiment import RECORDED
from joulelab.study.design import Configuration
from joulelab.study.listener import WorkloadSummary
from joulelab.study.plan import Group
from joulelab.study.planned_run import PlannedRun
from joulelab.study.runner import RunRecorder
from joulelab.study.session import Session
from joulelab.study.workload import Begun
from joulelab.tuning.recorded import ENERGY, SECONDS, RecordedTrials
from joulelab.tuning.recorded_tables import recorded
from joulelab.tuning.replaying import Replay
from joulelab.tuning.search import Step, make_search, searches

TABLES = "recorded_tables"
"""Key of the manifest."""
REMARK = (
    "Replayed: the joules and seconds of trainings were recorded before; none of them are spent "
    "here."
)
NEEDS = {"joules": (ENERGY, "joules"), "seconds": (SECONDS, "seconds")}
"""For units of budgets the column that a table must have."""


class ReplayedTuningWorkload(SearchWorkload):
    """Searches on recorded trials."""

    uses_gpu: ClassVar[bool] = False

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._specs = {
            name: spec
            for name, spec in session.spec.experiments().items()
            if isinstance(spec, ReplayedTuningSpec)
        }
        self._tables: dict[tuple[str, str], RecordedTrials] = {}

    def load(self, configurations: Sequence[Configuration]) -> WorkloadSummary:
        """Read the tables, and check that they have what the budget counts."""
        for name, spec in self._specs.items():
            budget = parse_budget(spec.budget)
            for keys in spec.given():
                self.session.listener.doing(f"reading {keys.level}")
                table = read(keys)
                check(table, budget)
                self._tables[name, keys.level] = table
        budgets = dict.fromkeys(spec.budget for spec in self._specs.values())
        names = dict.fromkeys(level for _, level in self._tables)
        return WorkloadSummary(
            means="replayed",
            noun="search",
            extent=f"of {' or '.join(budgets)} on recorded trials ({', '.join(names)})",
            basis="the budget of a search",
            remark=REMARK,
            data=self.conditions(),
        )

    def conditions(self) -> dict[str, Any]:
        """The tables, each with its checksum."""
        return {
            TABLES: {
                f"{experiment}: {level}": {
                    "trials": table.words,
                    "score": table.score,
                    "judged": table.judged_by,
                    "recorded": list(table.units),
                    RECORDED: table.status or str(Status.MISSING),
                    "notes": list(table.notes),
                    "sha256": table.checksum,
                }
                for (experiment, level), table in self._tables.items()
            }
        }

    @classmethod
    def check_unchanged(cls, begun: Begun, now: Mapping[str, Any]) -> None:
        """Refuse to go on with tables that have changed."""
        before = begun.manifest.get(TABLES, {})
        for name, table in now[TABLES].items():
            if before.get(name, table)["sha256"] != table["sha256"]:
                raise StoreMismatchError(
                    f"the recorded table {name} has changed since the study began",
                    "restore it, or choose another folder with --out",
                )

    def run(self, group: Group, pending: Sequence[PlannedRun], recorder: RunRecorder) -> None:
        """Run each search from its beginning."""
        for run in pending:
            self._search(cast(ReplayedConfiguration, group.configuration), run, recorder)

    def _search(self, one: ReplayedConfiguration, run: PlannedRun, recorder: RunRecorder) -> None:
        spec, table = self._specs[one.experiment], self._tables[one.experiment, one.table]
        self.session.listener.started([run])
        recorder.ledger.switch("tuner")
        started_at = time.time()
        search = make_search(
            one.strategy, table.space, run.seed, table.epochs, seeds=_seeds(one.strategy, table)
        )
        trainer = RecordedTrainer(Replay(search, table, run.seed), table)
        asked = Asked(
            header={"strategy": one.strategy, "table": one.table, "seed": run.seed},
            budget=parse_budget(spec.budget),
            confirm=0,
            target=spec.target,
        )
        journal = Journal(None)
        outcome = run_search(
            ReplayedSearcher(trainer.replay),
            trainer,
            journal,
            asked,
            self.session.listener.searching,
        )
        judged = table.scores(outcome.values) if outcome.values else []
        values = {
            "judged": len(judged),
            "judged_sd": statistics.stdev(judged) if len(judged) > 1 else None,
            "best_recorded": table.best,
            RECORDED: table.status or str(Status.MISSING),
            # Of this machine, and so not a part of the recorded energy.
            "tuner_s": trainer.thought_s,
            "tuner_j": None,
        }
        outcome.spent = replace(outcome.spent, status=trainer.status)
        recorder.ledger.switch("between")
        self.store(
            run,
            recorder,
            outcome,
            journal,
            started_at,
            values,
            accuracy=statistics.fmean(judged) if judged else None,
        )


class ReplayedSearcher(PlainSearcher):
    """A search whose proposals become recorded trials.

    Args:
        replay: of the search.
    """

    def __init__(self, replay: Replay) -> None:
        super().__init__(replay.search)
        self._replay = replay
        self.next = self._next

    def _next(self, most: int = 1, left: float | None = None) -> list[Step]:
        steps = self._replay.next(most, left)
        if self._replay.exhausted:
            self.no_steps = "all recorded trials are taken"
        return steps


class RecordedTrainer:
    """Reads what a step gave from a table.

    Args:
        replay: of the search.
        table: the recorded trials.

    Attributes:
        thought_s: seconds that the search itself has taken on this machine.
    """

    most = 1

    def __init__(self, replay: Replay, table: RecordedTrials) -> None:
        self.replay = replay
        self._table = table
        self.thought_s = 0.0
        self.status = str(Status.REPLAYED if ENERGY in table.units else Status.MISSING)

    def train(
        self, steps: Sequence[Step], purpose: Purpose, limit: Limit | None
    ) -> Sequence[Result]:
        """The recorded scores and costs; a confirmation takes the last repetitions first."""
        if purpose == "confirm":
            steps = [replace(one, repetition=FRESH - 1 - one.repetition) for one in steps]
        return [self._trained(step) for step in steps]

    def stack(self, step: Step) -> object:
        """Nothing: recorded steps have no memory."""

    @contextmanager
    def thinking(self) -> Iterator[Thinking]:
        """Time the search's own work, apart from what it spends."""
        began_s = time.perf_counter()
        try:
            yield Thinking()
        finally:
            self.thought_s += time.perf_counter() - began_s

    def _trained(self, step: Step) -> Result:
        scores, costs = self.replay.run(step)
        return Result(
            state="finished" if step.end == self._table.epochs else "paused",
            scores=scores,
            spent=Spent(
                seconds=costs.get(SECONDS, math.nan),
                epochs=float(step.end - step.start),
                joules=costs.get(ENERGY),
                error_j=None,
                grams=None,
                status=self.status,
                reason="" if ENERGY in costs else "the table has no joules",
            ),
            started_at=time.time(),
            values=step.values,
        )


def read(keys: TableKeys) -> RecordedTrials:
    """The table of some keys.

    Raises:
        UsageError: it cannot be read, or cannot be searched.
    """
    make = stored_trials if is_results_folder(keys.file) else recorded
    return make(keys.file, keys.variables, keys.score, keys.judged, keys.where)


def check(table: RecordedTrials, budget: Budget) -> None:
    """Check that a table can be searched on a budget.

    Raises:
        UsageError: it cannot; says why.
    """
    column, noun = NEEDS.get(budget.unit, ("", ""))
    if column and column not in table.units:
        others = [f"{unit} are recorded" for unit in table.units[:-1]]
        raise UsageError(
            f"the budget of {budget} cannot be kept: {table.name} has no {noun} (column {column})",
            f"give a budget in epochs or evaluations{''.join(f'; {one}' for one in others)}",
        )
    lowest, highest = table.range
    if lowest < 0 or highest > 1:
        raise UsageError(
            f"{table.name}: scores are from {lowest:g} to {highest:g}, but must be shares "
            "from 0 to 1, higher for better",
            "divide percentages by 100; turn a loss into 1 / (1 + loss); of a results folder, "
            "convert what joulelab export FOLDER --table curves writes, and give that file",
        )


def _seeds(strategy: str, table: RecordedTrials) -> int | None:
    """For a search that repeats trials by itself, no more repetitions than are recorded."""
    if table.epochs == 1 or strategy not in searches.names():
        return None
    usual = inspect.signature(searches.get(strategy)).parameters.get("seeds")
    return None if usual is None else min(usual.default, table.repetitions)
