"""Replayed tuning as an experiment: strategies x recorded tables, each run a whole search.

::

    [experiment.replay]
    kind = "replayed-tuning"
    strategies = ["green", "asha", "random"]
    tables = [
        "fashion-mnist-10k/DensePolyNN",                  # comes with joulelab
        "results/mine",                                   # a results folder
        { file = "trials.csv", variables = ["rate", "width"], score = "accuracy" },
    ]
    budget = "20kJ"                                       # as recorded
    repetitions = 30                                      # searches, each with its own seed
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from joulelab.budget import parse_budget
from joulelab.kinds.searching.keys import known_strategies
from joulelab.study.design import Configuration, Factor, Level
from joulelab.study.spec import Count, ExperimentSpec, Kind, StudySpec, located_path
from joulelab.study.validation import as_value_error, unique
from joulelab.tuning.recorded_tables import check_shipped, is_shipped

Text = Annotated[str, Field(min_length=1)]
FILE = "file"


class TableKeys(BaseModel):
    """A table of recorded trials.

    Attributes:
        file: a CSV or Parquet file, a results folder, or the name of a shipped table.
        name: level of the factor ``table``; default: that of the file, and the values of `where`.
        variables: columns with the values; default: all that vary and are not known as another
            thing.
        score: column that a search sees, higher is better; default: by its name.
        judged: column by which the choice of a search is judged; default: the score, or
            ``test_accuracy`` beside ``validation_accuracy``.
        where: of each of these columns, the value of the rows that count.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    file: Text
    name: Text | None = None
    variables: Annotated[list[Text], Field(min_length=1)] | None = None
    score: Text | None = None
    judged: Text | None = None
    where: dict[str, Level] = Field(default_factory=dict)

    @property
    def level(self) -> str:
        """Level of the factor ``table``."""
        if self.name is not None:
            return self.name
        name = self.file if is_shipped(self.file) else Path(self.file).stem
        return " ".join([name, *map(str, self.where.values())])


@dataclass(frozen=True, kw_only=True)
class ReplayedConfiguration(Configuration):
    """A strategy on a table.

    Attributes:
        strategy: name of a search or a strategy.
        table: level of the factor ``table``.
    """

    strategy: str
    table: str


class ReplayedTuningSpec(ExperimentSpec):
    """Keys of an experiment of kind ``replayed-tuning``.

    Attributes:
        strategies: names of searches or strategies; levels of the factor ``strategy``.
        tables: recorded trials, each the name of a shipped table, a file, a results folder, or a
            table with further keys; levels of the factor ``table``.
        budget: of each search, in what was recorded: ``"20kJ"``, ``"1h"``, ``"270 epochs"``,
            ``"100 evaluations"``.
        target: score that ends a search.
        repetitions: searches, each with its own seed.
    """

    noun: ClassVar[str] = "search"
    data_keys: ClassVar[frozenset[str]] = frozenset({"tables", "budget"})

    kind: Literal["replayed-tuning"]
    strategies: Annotated[list[str], Field(min_length=1)]
    tables: Annotated[list[Text | TableKeys], Field(min_length=1)]
    budget: str
    target: Annotated[float, Field(allow_inf_nan=False)] | None = None
    repetitions: Count = 30

    @field_validator("strategies")
    @classmethod
    def _known_strategies(cls, names: list[str]) -> list[str]:
        return known_strategies(names)

    @field_validator("budget")
    @classmethod
    def _possible_budget(cls, text: str) -> str:
        with as_value_error():
            unit = parse_budget(text).unit
        if unit == "grams":
            raise ValueError(
                "no table records grams of CO2e; give a budget in joules, time, epochs or "
                "evaluations"
            )
        return text

    @model_validator(mode="after")
    def _different_tables(self) -> ReplayedTuningSpec:
        unique([one.level for one in self.given()])
        with as_value_error():
            for one in self.given():
                if is_shipped(one.file):
                    check_shipped(one.file)
        return self

    def given(self) -> list[TableKeys]:
        """The tables, each with all keys."""
        return [TableKeys(file=one) if isinstance(one, str) else one for one in self.tables]

    def needs(self) -> tuple[str, ...]:
        """What reads Parquet, which the shipped tables are."""
        files = [one.file for one in self.given()]
        parquet = any(is_shipped(file) or file.endswith(".parquet") for file in files)
        return ("pyarrow",) if parquet else ()

    def factors(self) -> Sequence[Factor]:
        """Strategy and table."""
        return (
            Factor("strategy", tuple(self.strategies)),
            Factor("table", tuple(one.level for one in self.given())),
        )

    def configuration(
        self, experiment: str, levels: Mapping[str, Level], study: StudySpec
    ) -> ReplayedConfiguration:
        """One strategy on one table."""
        return ReplayedConfiguration(
            **self.identity(experiment, levels),
            strategy=str(levels["strategy"]),
            table=str(levels["table"]),
        )

    @classmethod
    def located(cls, table: dict[str, Any], folder: Path) -> None:
        """Files and folders count from the study file."""
        if isinstance(tables := table.get("tables"), list):
            table["tables"] = [_located(one, folder) for one in tables]

    def files(self) -> dict[Path, bool]:
        """The files with tables."""
        paths = [Path(one.file) for one in self.given() if not is_shipped(one.file)]
        return dict.fromkeys([path for path in paths if path.is_file()], False)

    def portable(self, name_of: Callable[[Path], str | None]) -> dict[str, Any]:
        """The copies of the files."""
        plain = self.model_dump(mode="json", exclude_none=True)["tables"]
        for at, one in enumerate(self.given()):
            copy = None if is_shipped(one.file) else name_of(Path(one.file))
            if copy is not None:
                keys = {FILE: plain[at]} if isinstance(plain[at], str) else plain[at]
                plain[at] = {**keys, FILE: copy, "name": one.level}
        return {"tables": plain}


def _located(one: Any, folder: Path) -> Any:  # noqa: ANN401 - unchecked data
    if isinstance(one, dict):
        file = one.get(FILE)
        return {**one, FILE: _located(file, folder)} if isinstance(file, str) else one
    if isinstance(one, str) and one and not is_shipped(one):
        return str(located_path(one, folder))
    return one


REPLAYED_TUNING = Kind(
    ReplayedTuningSpec,
    "joulelab.kinds.replayed_tuning.workload:ReplayedTuningWorkload",
    "joulelab.kinds.replayed_tuning.report:REPLAYED_TUNING",
)
