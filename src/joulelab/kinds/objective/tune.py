"""Tune a function of your own: ``joulelab.tune(objective, space, budget="20kJ")``.

::

    import joulelab
    from train import objective                     # def objective(trial): ...

    if __name__ == "__main__":
        found = joulelab.tune(objective, budget="20kJ")
        print(found.values, found.score)
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from joulelab.errors import JoulelabError, UsageError
from joulelab.kinds.objective.workload import OUTPUTS
from joulelab.kinds.program.experiment import reference_of
from joulelab.kinds.program.spec import located_function
from joulelab.kinds.program.worker import INSIDE
from joulelab.kinds.searching.journal import STEPS, read_journal
from joulelab.kinds.searching.tables import trial_rows
from joulelab.plain import PlainDataError, check_plain, expanded, parse_toml, read_text
from joulelab.study.listener import Listener
from joulelab.study.results import Results
from joulelab.study.study import Study
from joulelab.study.study_file import check_spec
from joulelab.tuning.front import SCORE, on_front
from joulelab.tuning.space import SearchSpace, Value, Variable

if TYPE_CHECKING:
    import pandas as pd

OUT = Path("joulelab-out")
EXPERIMENT = "objective"
QUICK: Mapping[str, Any] = {"idle_s": 0.0, "cool_down_s": 0.0, "traces": False}
"""Keys of ``[energy]``: waiting for idle power around every step would take longer than steps."""
Space = SearchSpace | Mapping[str, Variable] | str | Path


@dataclass(frozen=True)
class Confirmation:
    """The best values on fresh seeds.

    Attributes:
        mean: of the scores; None if there are none.
        low: lower end of the 95 % interval of the mean; None for fewer than two seeds.
        high: upper end.
        seeds: number of fresh seeds.
    """

    mean: float | None
    low: float | None
    high: float | None
    seeds: int


@dataclass(frozen=True)
class Knee:
    """The trial at the knee of the front.

    Attributes:
        values: of it.
        score: of it, as the search saw it, in the direction of the objective.
        second: joules of a full training, or what the objective returned.
        confirmed: mean score on fresh seeds; None if there are none.
    """

    values: Mapping[str, Value]
    score: float
    second: float
    confirmed: float | None


@dataclass(frozen=True)
class Tuned:
    """What a search found.

    With two goals, the best is the end of the front with the highest score.

    Attributes:
        values: the best.
        score: of them, as the search saw it, in the direction of the objective.
        confirmation: on fresh seeds.
        spent_j: joules in all, the tuner's own and interrupted work included; None where unknown.
        energy_status: measured, partly estimated, estimated or missing.
        duration_s: seconds of the same.
        epochs: trained in all.
        stopped: why the search ended.
        folder: with the results.
        shortfall: that the budget was too small for a search; empty if it was not.
        advice: what to do then.
        unasked: names of the given space that no trial asked for, each with a name outside of it
            that was asked for and resembles it, or None.
        second: with two goals, the second one of the best, as the search saw it.
        second_goal: ``"energy"`` of a full training in joules, or ``"returned"`` by the objective.
        knee: with two goals, the values where a little of the score saves most; None for a front
            of fewer than three trials.
    """

    values: Mapping[str, Value]
    score: float | None
    confirmation: Confirmation
    spent_j: float | None
    energy_status: str
    duration_s: float
    epochs: float
    stopped: str
    folder: Path
    shortfall: str = ""
    advice: str = ""
    unasked: Mapping[str, str | None] = field(default_factory=dict)
    second: float | None = None
    second_goal: str = ""
    knee: Knee | None = None

    @cached_property
    def trials(self) -> pd.DataFrame:
        """One row per trial: values, score, epochs, state, reason, joules, seconds, attributes.

        The column ``second`` is the energy of a full training in joules, or what was returned.
        """
        import pandas as pd

        table = Results.open(self.folder).spec["experiment"][EXPERIMENT]
        journal = read_journal(self.folder / OUTPUTS / "00001" / STEPS)
        rows = trial_rows(journal, 1.0 if table["direction"] == "maximize" else -1.0)
        return pd.DataFrame([{**row.pop("values"), **row} for row in rows])

    @property
    def front(self) -> pd.DataFrame:
        """The trials that no other beats in score and second goal, by ascending second goal."""
        table = Results.open(self.folder).spec["experiment"][EXPERIMENT]
        sign = 1.0 if table["direction"] == "maximize" else -1.0
        rows = self.trials[self.trials["state"] == "finished"].dropna(subset=["score", "second"])
        chosen = on_front(rows["second"].to_numpy(float), sign * rows["score"].to_numpy(float))
        return rows.iloc[chosen].reset_index(drop=True)


def tune(  # noqa: PLR0913 - what a search may be told
    objective: Callable[[Any], Any] | str,
    space: Space | None = None,
    budget: str | None = None,
    *,
    strategy: str = "green",
    seed: int = 0,
    direction: Literal["maximize", "minimize"] = "maximize",
    goals: Sequence[str] = (SCORE,),
    epochs: int | None = None,
    target: float | None = None,
    seeds: int | None = None,
    confirm: int = 3,
    timeout_s: float | None = None,
    cost: Callable[[Mapping[str, Value]], float] | str | None = None,
    place: str | float | None = None,
    out: str | Path | None = None,
    energy: Mapping[str, Any] | None = None,
    listener: Listener | None = None,
) -> Tuned:
    """Search the values with the best score, for the least energy.

    The objective runs in a process of its own, which imports it; it must be at the top level of a
    file. Called again with the same arguments, a search that was interrupted goes on.

    Args:
        objective: called with a trial, which has the methods of Optuna's; returns a score. Or its
            name, ``"train.py:objective"``.
        space: variables by name, or a TOML file with a table for each; default: what the objective
            asks for.
        budget: ``"20kJ"``, ``"2h"``, ``"50 gCO2e"``, ``"270 epochs"``, ``"27 evaluations"``;
            default: until next to nothing is gained.
        strategy: name of a search or strategy; ``joulelab list`` prints them.
        seed: determines the search, with the scores.
        direction: whether higher or lower scores are better.
        goals: ``("score", "energy")`` for the front of both. The energy is that of a full training,
            evaluations included, or the second of two numbers that the objective returns.
        epochs: of a full training; default: what the first trial reports.
        target: score that ends the search once fresh seeds confirm it.
        seeds: most trainings of a trial; it gets another seed only while it may still beat the
            best. Default: 8 for green over epochs, else 1.
        confirm: fresh seeds for the best values.
        timeout_s: longest duration of a call of the objective.
        cost: what is known beforehand: from values to a relative cost above 0.
        place: origin of the electricity, for a budget in grams of CO2e.
        out: results folder; default: one for the objective in ``joulelab-out``.
        energy: keys of the table ``[energy]`` of a study file.
        listener: hears what happens.

    Raises:
        UsageError: the objective cannot be imported, an argument is not valid, or this is itself a
            run of an objective.
        StoreMismatchError: the folder holds a search with other arguments.
        JoulelabError: the first trials all failed, or the meters cannot measure a budget.
    """
    if os.environ.get(INSIDE):
        raise UsageError(
            "a search cannot start within a trial of a search",
            'put joulelab.tune(...) under if __name__ == "__main__":',
        )
    reference = objective if isinstance(objective, str) else reference_of(objective)
    table: dict[str, Any] = {
        "kind": EXPERIMENT,
        "function": located_function(reference, Path.cwd()),
        "strategy": strategy,
        "budget": budget,
        "direction": direction,
        "goals": None if list(goals) == [SCORE] else list(goals),
        "space": space_tables(space),
        "epochs": epochs,
        "target": target,
        "seeds": seeds,
        "confirm": confirm,
        "timeout_s": timeout_s,
        "cost": None if cost is None else _reference(cost),
        "place": place,
        "cwd": str(Path.cwd()),
    }
    spec: dict[str, Any] = {
        "name": _name(reference),
        "seed": seed,
        "energy": {**QUICK, **(energy or {})},
        "experiment": {EXPERIMENT: {key: one for key, one in table.items() if one is not None}},
    }
    try:
        check_plain(spec)
    except PlainDataError as error:
        raise UsageError(f"{'.'.join(error.keys)}: {error.message}", "change that value") from None
    folder = Path(out) if out is not None else default_folder(reference)
    return tuned(Study(check_spec(spec)).run(folder, listener))


def default_folder(reference: str) -> Path:
    """The results folder of an objective.

    Args:
        reference: ``"train.py:objective"``.
    """
    return OUT / f"tune-{_name(reference)}"


def _name(reference: str) -> str:
    return reference.rpartition(":")[2].rpartition(".")[2]


def tuned(results: Results) -> Tuned:
    """The outcome of a search from its results folder.

    Raises:
        JoulelabError: the search found nothing.
    """
    row = results.to_frame().iloc[0]
    if row["state"] == "failed":
        printed = f"what they printed is in {results.folder / OUTPUTS}"
        raise JoulelabError(str(row["error"]), _text(row.get("advice")) or printed)

    def known(name: str) -> float | None:
        value = row.get(name)
        return None if value is None or value != value else float(value)  # noqa: PLR0124 - NaN

    return Tuned(
        values=json.loads(row["best"]),
        score=known("score"),
        confirmation=Confirmation(
            known("confirmed"),
            known("confirmed_low"),
            known("confirmed_high"),
            int(row["confirmations"]),
        ),
        spent_j=known("energy_gross_j"),
        energy_status=str(row["energy_status"]),
        duration_s=float(row["duration_s"]),
        epochs=float(row["epochs"]),
        stopped=str(row["stopped"]),
        folder=results.folder,
        shortfall=_text(row.get("shortfall")),
        advice=_text(row.get("advice")),
        unasked=json.loads(_text(row.get("unasked")) or "{}"),
        second=known("second"),
        second_goal=_text(row.get("second_goal")),
        knee=None
        if (at := known("knee_score")) is None
        else Knee(
            json.loads(row["knee"]), at, known("knee_second") or 0.0, known("knee_confirmed")
        ),
    )


def _text(value: object) -> str:
    """A text that not every search has."""
    return value if isinstance(value, str) else ""


def space_tables(space: Space | None) -> dict[str, Any]:
    """The tables of a space, as in a study file.

    Args:
        space: variables by name, or a TOML file with a table for each.

    Raises:
        UsageError: the file cannot be read, or a variable is impossible.
    """
    if space is None:
        return {}
    if isinstance(space, SearchSpace):
        return space.to_dict()
    if isinstance(space, Mapping):
        return SearchSpace(space).to_dict()
    path = expanded(space)
    try:
        data = parse_toml(read_text(path))
    except PlainDataError as error:
        raise UsageError(
            f"the space {path} cannot be read: {error.message}", "give a TOML file"
        ) from None
    tables = data.get("space", data)
    try:
        return SearchSpace.from_dict(tables).to_dict()
    except UsageError as error:
        raise UsageError(f"{path}: {error.message}", error.hint) from None


def _reference(function: Callable[..., Any] | str) -> str:
    named = function if isinstance(function, str) else reference_of(function)
    return located_function(named, Path.cwd())
