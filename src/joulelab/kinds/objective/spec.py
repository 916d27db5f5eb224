"""An objective of the user as an experiment: the keys of its table in a study file.

::

    [experiment.objective]
    kind = "objective"
    function = "train.py:objective"
    budget = "20kJ"
    [experiment.objective.space.rate]           # may be left out
    type = "continuous"
    low = 1e-5
    high = 1e-1
    log = true
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from joulelab.budget import parse_budget
from joulelab.errors import quoted
from joulelab.kinds.program.spec import (
    function_files,
    function_reference,
    in_place,
    located_function,
)
from joulelab.kinds.searching.keys import Goals, check_target, known_strategy
from joulelab.plain import as_path, expanded
from joulelab.study.design import Configuration, Factor, Level, MainMetric
from joulelab.study.spec import CALLABLE, Count, ExperimentSpec, Kind, StudySpec
from joulelab.study.validation import as_value_error
from joulelab.tuning.search import check_seeds
from joulelab.tuning.space import SearchSpace


@dataclass(frozen=True)
class ObjectiveConfiguration(Configuration):
    """A search; its seeds are what every random generator takes."""

    seed_bits: ClassVar[int] = 31


class ObjectiveSpec(ExperimentSpec):
    """Keys of an experiment of kind ``objective``: a run of it is a whole search.

    Attributes:
        function: ``"module:function"`` or ``"file.py:function"``, from the working folder; it is
            called with a trial.
        strategy: registered name of a search or a strategy.
        budget: such as ``"20kJ"``, ``"2h"``, ``"270 epochs"``; default: until nothing is gained.
        direction: whether higher or lower scores are better.
        goals: ``["score"]``, or ``["score", "energy"]`` for the front of both: the energy of a full
            training, evaluations included, or the second of two numbers that the function returns,
            of which lower is better.
        space: the variables; default: what the objective asks for.
        epochs: of a full training; default: what the first trial reports.
        target: score that ends the search once fresh seeds confirm it.
        seeds: most trainings of a trial, each with its own seed; a trial gets another one only
            while it may still beat the best. Default: 8 for green over epochs, else 1.
        confirm: trainings of the best values with fresh seeds at the end; 0 for none.
        timeout_s: longest duration of a call.
        cost: ``"file.py:function"`` that says what is known beforehand: from values to a relative
            cost.
        place: origin of the electricity, for a budget in grams of CO2e; default: the settings.
        cwd: working folder; default: that of the study file.
        environment: additional environment variables.
        repetitions: searches, each with its own seed.
    """

    noun: ClassVar[str] = "search"
    working_folder: ClassVar[str] = "cwd"
    data_keys: ClassVar[frozenset[str]] = frozenset(
        {"function", "cost", "space", "place", "cwd", "environment", "exclude", "budget"}
    )

    kind: Literal["objective"]
    function: Annotated[str, Field(pattern=CALLABLE)]
    strategy: str = "green"
    budget: str | None = None
    direction: Literal["maximize", "minimize"] = "maximize"
    goals: Goals | None = None
    space: dict[str, dict[str, Any]] = Field(default_factory=dict)
    epochs: Count | None = None
    target: Annotated[float, Field(allow_inf_nan=False)] | None = None
    seeds: Count | None = None
    confirm: Annotated[int, Field(ge=0, strict=True)] = 3
    timeout_s: Annotated[float, Field(gt=0)] | None = None
    cost: Annotated[str, Field(pattern=CALLABLE)] | None = None
    place: str | float | None = None
    cwd: str = "."
    environment: dict[str, str] = Field(default_factory=dict)
    repetitions: Count = 1

    @field_validator("strategy")
    @classmethod
    def _known_strategy(cls, name: str) -> str:
        return known_strategy(name)

    @field_validator("budget")
    @classmethod
    def _possible(cls, text: str | None) -> str | None:
        with as_value_error():
            if text is not None:
                parse_budget(text)
        return text

    @field_validator("space")
    @classmethod
    def _valid(cls, entries: dict[str, dict[str, Any]]) -> dict[str, dict[str, Any]]:
        with as_value_error():
            if entries:
                SearchSpace.from_dict(entries)
        return entries

    @field_validator("function")
    @classmethod
    def _named(cls, text: str) -> str:
        if not text.rpartition(":")[0]:
            raise ValueError(f"{quoted(text)} does not name a file or module")
        return text

    @model_validator(mode="after")
    def _raced(self) -> ObjectiveSpec:
        with as_value_error():
            check_seeds(self.strategy, self.seeds)
        check_target(self.target, self.two_goals)
        return self

    @property
    def two_goals(self) -> bool:
        """Whether there is a second goal."""
        return self.goals is not None and len(self.goals) > 1

    @property
    def sign(self) -> float:
        """1 where higher scores are better, else -1."""
        return 1.0 if self.direction == "maximize" else -1.0

    def factors(self) -> Sequence[Factor]:
        """The strategy."""
        return (Factor("strategy", (self.strategy,)),)

    def configuration(
        self, experiment: str, levels: Mapping[str, Level], study: StudySpec
    ) -> Configuration:
        """The search."""
        return ObjectiveConfiguration(**self.identity(experiment, levels))

    @classmethod
    def main_metric(cls, table: Mapping[str, Any]) -> MainMetric:
        """The score of the best trial."""
        return MainMetric("score", "min" if table.get("direction") == "minimize" else "max")

    @classmethod
    def located(cls, table: dict[str, Any], folder: Path) -> None:
        """The working folder and the files of the functions count from the study file."""
        cwd = table.setdefault("cwd", ".")
        if isinstance(cwd, str):
            table["cwd"] = str(as_path(folder / expanded(cwd)).resolve())
        for key in ("function", "cost"):
            if isinstance(text := table.get(key), str):
                table[key] = located_function(text, Path(str(table["cwd"])))

    def files(self) -> dict[Path, bool]:
        """The files of the functions, and the modules that they import from their folders."""
        cwd = Path(self.cwd)
        found = [
            file
            for text in (self.function, self.cost)
            if text
            for file in function_files(text, cwd)
        ]
        return dict.fromkeys(found, True)

    def portable(self, name_of: Callable[[Path], str | None]) -> dict[str, Any]:
        """The copies are named from the working folder."""
        cwd = name_of(Path(self.cwd))
        named = {"function": function_reference(self.function, cwd, name_of)}
        if self.cost:
            named["cost"] = function_reference(self.cost, cwd, name_of)
        return {"cwd": cwd or self.cwd, **named}

    @classmethod
    def code(cls, table: Mapping[str, Any]) -> list[tuple[str, Path | None]]:
        """The functions, and the files that they are made of."""
        found: list[tuple[str, Path | None]] = []
        for key in ("function", "cost"):
            if table.get(key):
                files = function_files(str(table[key]), Path(str(table.get("cwd", "."))))
                found += [(in_place(table, key), None), *((str(file), file) for file in files)]
        return found


OBJECTIVE = Kind(
    ObjectiveSpec,
    "joulelab.kinds.objective.workload:ObjectiveWorkload",
    "joulelab.kinds.objective.report:OBJECTIVE",
)
