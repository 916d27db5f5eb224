"""Commands and functions of the user as experiments: the keys of their tables in a study file.

::

    [experiment.width]
    kind = "command"
    command = "python work.py --width {width} --mode {mode} --seed {seed}"
    repetitions = 3
    metrics = { accuracy = "max", loss = "min" }
    [experiment.width.vary]
    width = [16, 32, 64]
    mode = ["a", "b"]
    "depth, rate" = [[2, 0.1], [4, 0.01]]          levels that go together
"""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from joulelab import formats
from joulelab.errors import quoted
from joulelab.kinds.program.command_line import check_placeholders, placeholders, split
from joulelab.kinds.program.metrics import Metric
from joulelab.plain import as_path, expanded, is_there
from joulelab.study.column_names import FACTORS, TAKEN, VALUES
from joulelab.study.design import (
    Factor,
    Level,
    full_factorial,
    latin_square,
    regular_fraction,
    without,
)
from joulelab.study.spec import ExperimentSpec, Kind
from joulelab.study.validation import as_value_error, unique

Levels = Annotated[list[Level] | list[list[Level]], Field(min_length=1)]
ENERGY, DURATION = "energy", "duration"
MEASURED_NAMES = (ENERGY, DURATION)
"""What is measured of every program, beside the metrics that it gives."""
SEED, OUT, REPETITION = "seed", "out", "repetition"
GIVEN = (SEED, OUT, REPETITION)
"""Values that every run has beside its levels."""
HALVINGS = {"1/2": 1, "1/4": 2, "1/8": 3, "1/16": 4}


class ProgramSpec(ExperimentSpec):
    """Keys of an experiment whose runs are a program of the user.

    Attributes:
        vary: the factors with their levels. A name such as ``"depth, rate"`` stands for factors
            whose levels go together: ``[[2, 0.1], [4, 0.01]]``.
        design: ``"full"`` for every combination; ``"latin-square"`` or ``"fractional"`` for a part
            in which the factors can still be told apart.
        fraction: of a fractional design: ``"1/2"``, ``"1/4"``, ``"1/8"`` or ``"1/16"``.
        metrics: for each metric which direction is better, ``"max"`` or ``"min"``; or a table with
            ``better`` and a ``pattern`` to find it in the output.
        claims: sentences to decide, such as ``"width moves energy"``.
        trade_offs: pairs of measures to show against each other; default: energy against each
            metric.
        within_percent: how far from the best a configuration may be, for the question of the
            cheapest one that is nearly as good.
        timeout_s: longest duration of a run; one that takes longer is ended, and has failed.
        cwd: working folder; default: that of the study file.
        environment: additional environment variables.
    """

    noun: ClassVar[str] = "run"

    vary: Annotated[dict[str, Levels], Field(min_length=1)]
    design: Literal["full", "latin-square", "fractional"] = "full"
    fraction: Literal["1/2", "1/4", "1/8", "1/16"] = "1/2"
    metrics: dict[str, Metric] = Field(default_factory=dict)
    claims: list[str] = Field(default_factory=list)
    trade_offs: list[tuple[str, str]] = Field(default_factory=list)
    within_percent: Annotated[float, Field(ge=0, le=100)] = 5.0
    timeout_s: Annotated[float, Field(gt=0)] | None = None
    cwd: str = "."
    environment: dict[str, str] = Field(default_factory=dict)

    @field_validator("vary")
    @classmethod
    def _factors(cls, vary: dict[str, Any]) -> dict[str, Any]:
        names: list[str] = []
        for key, levels in vary.items():
            together = _names(key)
            for level in levels:
                if (len(together) > 1) != isinstance(level, list) or (
                    isinstance(level, list) and len(level) != len(together)
                ):
                    raise ValueError(
                        f"the level {quoted(level)} of {quoted(key)} does not have "
                        f"{formats.count(len(together), 'value')}; levels that go together are "
                        'written "a, b" = [[1, 2], [3, 4]]'
                    )
            unique([tuple(one) if isinstance(one, list) else one for one in levels])
            names += together
        for name in unique(names):
            if name in GIVEN or name in TAKEN - FACTORS:
                raise ValueError(f"{quoted(name)} has a meaning of its own; rename the factor")
        return vary

    @field_validator("metrics", mode="before")
    @classmethod
    def _as_tables(cls, metrics: Any) -> Any:  # noqa: ANN401 - unchecked data
        if not isinstance(metrics, dict):
            return metrics
        return {
            name: {"better": one} if isinstance(one, str) else one for name, one in metrics.items()
        }

    @field_validator("metrics")
    @classmethod
    def _free_names(cls, metrics: dict[str, Metric]) -> dict[str, Metric]:
        for name in metrics:
            if not name or name in MEASURED_NAMES or name in TAKEN - VALUES:
                raise ValueError(f"{quoted(name)} is measured by joulelab; rename the metric")
        return metrics

    @model_validator(mode="after")
    def _separate(self) -> ProgramSpec:
        if both := [factor.name for factor in self.factors() if factor.name in self.metrics]:
            raise ValueError(f"{quoted(both[0])} is both a factor and a metric; rename one of them")
        measures = [*MEASURED_NAMES, *self.metrics]
        for pair in self.trade_offs:
            for name in pair:
                if name not in measures:
                    known = ", ".join(measures)
                    raise ValueError(f"trade_offs names {quoted(name)}; known: {known}")
        with as_value_error():
            self.combinations()
            if self.claims:
                # The statistics take seconds to load.
                from joulelab.analysis.claims.factors import parse_claim

                levels = {one.name: one.levels for one in self.factors()}
                for claim in self.claims:
                    parse_claim(claim, levels, measures)
        return self

    @classmethod
    def located(cls, table: dict[str, Any], folder: Path) -> None:
        """The working folder counts from the study file."""
        cwd = table.setdefault("cwd", ".")
        if isinstance(cwd, str):
            table["cwd"] = str(as_path(folder / expanded(cwd)).resolve())

    def factors(self) -> Sequence[Factor]:
        """Every name of `vary`, with its levels, each once."""
        found = []
        for key, levels in self.vary.items():
            for place, name in enumerate(_names(key)):
                own = [level[place] if isinstance(level, list) else level for level in levels]
                once = {(type(level), level): level for level in own}
                found.append(Factor(name, tuple(once.values())))
        return found

    def combinations(self) -> Sequence[Mapping[str, Level]]:
        """The combinations of the design; levels that go together count as one level."""
        groups = [_together(key, levels) for key, levels in self.vary.items()]
        sizes = [len(group) for group in groups]
        if self.design == "latin-square":
            chosen = latin_square(sizes)
        elif self.design == "fractional":
            chosen = regular_fraction(sizes, HALVINGS[self.fraction])
        else:
            numbered = [Factor(str(n), tuple(range(size))) for n, size in enumerate(sizes)]
            chosen = [tuple(int(v) for v in one.values()) for one in full_factorial(numbered)]
        made = (
            {
                name: level
                for group, position in zip(groups, one, strict=True)
                for name, level in group[position].items()
            }
            for one in chosen
        )
        return without(made, self.factors(), self.excluded())

    def most_combinations(self) -> int:
        """Those of the full design; levels that go together count as one."""
        most = 1
        for levels in self.vary.values():
            most *= len(levels)
        return most


class CommandSpec(ProgramSpec):
    """A command in any language, with placeholders for factors, ``{seed}`` and ``{out}``.

    Attributes:
        command: the command as a line, or as a list of arguments. It is split into arguments
            before the placeholders are filled in, and no shell sees it.
        shell: let a shell run it, with the levels quoted; for pipes and redirections.
        metrics_file: file with the result, JSON or CSV, from the working folder; may contain
            placeholders. Default: the last line of the output that is a JSON object.
    """

    kind: Literal["command"]
    command: str | Annotated[list[str], Field(min_length=1)]
    shell: Annotated[bool, Field(strict=True)] = False
    metrics_file: str | None = None

    @model_validator(mode="after")
    def _filled(self) -> CommandSpec:
        if self.shell and not isinstance(self.command, str):
            raise ValueError("shell = true needs the command as one line")
        with as_value_error():
            split(self.command)
            names = [factor.name for factor in self.factors()]
            check_placeholders([*self.texts, *self.environment.values()], names, GIVEN)
            for name in placeholders(self.metrics_file or ""):
                if name not in {*names, *GIVEN}:
                    raise ValueError(f"metrics_file: {{{name}}} is not a factor")
        return self

    @property
    def texts(self) -> list[str]:
        """The arguments, or the whole line for a shell, with placeholders."""
        return [str(self.command)] if self.shell else split(self.command)

    @property
    def used(self) -> set[str]:
        """Names of all placeholders."""
        texts = [*self.texts, *self.environment.values(), self.metrics_file or ""]
        return {name for text in texts for name in placeholders(text)}

    def files(self) -> list[Path]:
        """Files of the user among the arguments, in the working folder or a path."""
        return files_of(self.command, self.cwd)

    @classmethod
    def code(cls, table: Mapping[str, Any]) -> list[tuple[str, Path | None]]:
        """The command, and the files that it names."""
        command, cwd = table.get("command", ""), str(table.get("cwd", "."))
        text = f"{command} in {cwd} with {table.get('environment', {})}"
        try:
            return [(text, None), *((str(file), file) for file in files_of(command, cwd))]
        except Exception:  # unchecked data, which will be refused
            return [(text, None)]


class FunctionSpec(ProgramSpec):
    """A Python function with the factors as arguments, which returns its metrics.

    Attributes:
        function: ``"module:function"`` or ``"file.py:function"``, from the working folder.
        fresh_process: start a process for each run, so that nothing is left of the one before;
            otherwise one process makes all runs.
    """

    kind: Literal["function"]
    function: Annotated[str, Field(pattern=r"^[^:]+:[A-Za-z_][\w.]*$")]
    fresh_process: Annotated[bool, Field(strict=True)] = True

    @classmethod
    def located(cls, table: dict[str, Any], folder: Path) -> None:
        """The working folder and the file of the function count from the study file."""
        super().located(table, folder)
        if isinstance(text := table.get("function"), str):
            table["function"] = located_function(text, Path(str(table["cwd"])))

    @classmethod
    def code(cls, table: Mapping[str, Any]) -> list[tuple[str, Path | None]]:
        """The file of the function."""
        place, _, _ = str(table.get("function", "")).rpartition(":")
        return [(str(table.get("function")), Path(place) if place.endswith(".py") else None)]


def located_function(text: str, folder: Path) -> str:
    """A function with the file that it is in, where that is in a folder, not in a package.

    >>> located_function("json:dumps", Path("/nowhere"))
    'json:dumps'
    """
    place, _, name = text.rpartition(":")
    file = folder / (expanded(place) if place.endswith(".py") else f"{place}.py")
    if place.endswith(".py") or is_there(file):
        return f"{as_path(file).resolve()}:{name}"
    return text


def files_of(command: str | Sequence[str], cwd: str) -> list[Path]:
    """Files of the user that a command names; programs of the system are not."""
    found = []
    for word in split(command):
        path = Path(cwd) / expanded(word)
        if is_there(path) and path.is_file() and shutil.which(word) != str(path):
            found.append(path)
    return list(dict.fromkeys(found))


def _names(key: str) -> list[str]:
    """The factors that a key of `vary` names."""
    names = [name.strip() for name in key.split(",")]
    if not all(names):
        raise ValueError(f"{quoted(key)} does not name a factor")
    return names


def _together(key: str, levels: Sequence[Any]) -> list[dict[str, Level]]:
    names = _names(key)
    return [
        dict(zip(names, level if isinstance(level, list) else [level], strict=True))
        for level in levels
    ]


COMMAND = Kind(
    CommandSpec,
    "joulelab.kinds.program.workload:CommandWorkload",
    "joulelab.kinds.program.report:PROGRAM",
)
FUNCTION = Kind(
    FunctionSpec,
    "joulelab.kinds.program.workload:FunctionWorkload",
    "joulelab.kinds.program.report:PROGRAM",
)
