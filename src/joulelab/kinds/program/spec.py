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

import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field, field_validator, model_validator

from joulelab import formats
from joulelab.errors import quoted
from joulelab.kinds.program.command_line import check_placeholders, in_words, placeholders, split
from joulelab.kinds.program.metrics import Metric
from joulelab.kinds.program.own_files import command_files, imported_files, module_files
from joulelab.plain import as_path, expanded, is_there
from joulelab.study.column_names import COLUMNS, FACTORS, VALUES
from joulelab.study.design import (
    Configuration,
    Factor,
    Level,
    MainMetric,
    full_factorial,
    latin_square,
    regular_fraction,
    without,
)
from joulelab.study.spec import CALLABLE, ExperimentSpec, Kind, StudySpec
from joulelab.study.validation import as_value_error, unique

Levels = Annotated[list[Level] | list[list[Level]], Field(min_length=1)]
ENERGY, DURATION = "energy", "duration"
MEASURED_NAMES = (ENERGY, DURATION)
"""What is measured of every program, beside the metrics that it gives."""
SEED, OUT, REPETITION = "seed", "out", "repetition"
GIVEN = (SEED, OUT, REPETITION)
"""Values that every run has beside its levels."""
TAKEN = {*COLUMNS, *GIVEN} - FACTORS
"""Names that no factor can have."""
IN_REPORTS = {"n", "row", "name", "front"}
"""Columns of the tables and figures of a report, beside the metrics."""
HALVINGS = {"1/2": 1, "1/4": 2, "1/8": 3, "1/16": 4}


@dataclass(frozen=True)
class ProgramConfiguration(Configuration):
    """One combination of levels; its seeds are what every random generator takes."""

    seed_bits: ClassVar[int] = 31


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
    working_folder: ClassVar[str] = "cwd"
    data_keys: ClassVar[frozenset[str]] = frozenset(
        {
            "command",
            "function",
            "vary",
            "exclude",
            "metrics",
            "metrics_file",
            "claims",
            "trade_offs",
        }
        | {"cwd", "environment"}
    )  # `code` names what is run

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
            if name in TAKEN:
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
            if not name or name in MEASURED_NAMES or name in COLUMNS - VALUES:
                raise ValueError(f"{quoted(name)} is measured by joulelab; rename the metric")
            if name in IN_REPORTS:
                raise ValueError(f"{quoted(name)} has a meaning of its own; rename the metric")
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

    def portable(self, name_of: Callable[[Path], str | None]) -> dict[str, Any]:
        """The working folder is that of the copies."""
        return {"cwd": name_of(Path(self.cwd)) or self.cwd}

    def factors(self) -> Sequence[Factor]:
        """Every name of `vary`, with its levels, each once."""
        return [Factor(name, levels) for name, levels in _levels(self.vary).items()]

    def configuration(
        self, experiment: str, levels: Mapping[str, Level], study: StudySpec
    ) -> Configuration:
        """The configuration for one combination of levels."""
        return ProgramConfiguration(**self.identity(experiment, levels))

    @classmethod
    def main_metric(cls, table: Mapping[str, Any]) -> MainMetric:
        """The first declared metric, else the duration."""
        for name, one in (table.get("metrics") or {}).items():
            better = one.get("better") if isinstance(one, dict) else one
            return MainMetric(str(name), "min" if better == "min" else "max")
        return MainMetric("duration_s", "min")

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
            for factor in self.factors():
                unique([in_words(level) for level in factor.levels])
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

    def files(self) -> dict[Path, bool]:
        """Files among the arguments, and the Python modules that they import."""
        levels = _levels(self.vary)
        return command_files(self.command, Path(self.cwd), levels, shell=self.shell)

    def portable(self, name_of: Callable[[Path], str | None]) -> dict[str, Any]:
        """Copies are named from the working folder, where the command names absolute paths."""
        command, cwd = self.command, name_of(Path(self.cwd))
        names = {
            word: _from(cwd, name)
            for word in split(command)
            if cwd is not None and Path(word).is_absolute() and Path(word) in self.files()
            if (name := name_of(Path(word))) is not None
        }
        for word, name in names.items():
            if isinstance(command, str):
                whole = rf"(?<![^\s'\"]){re.escape(word)}(?![^\s'\"])"
                command = re.sub(whole, name.replace("\\", r"\\"), command)
            else:
                command = [name if one == word else one for one in command]
        return {**super().portable(name_of), "command": command}

    @classmethod
    def code(cls, table: Mapping[str, Any]) -> list[tuple[str, Path | None]]:
        """The command, and the programs and scripts that it names."""
        text = in_place(table, "command")
        try:
            cwd, levels = Path(str(table.get("cwd", "."))), _levels(table.get("vary", {}))
            shell = table.get("shell") is True
            files = command_files(table.get("command", ""), cwd, levels, shell=shell)
        except Exception:  # unchecked data, which will be refused
            return [(text, None)]
        return [(text, None), *((str(file), file) for file, is_code in files.items() if is_code)]


class FunctionSpec(ProgramSpec):
    """A Python function with the factors as arguments, which returns its metrics.

    Attributes:
        function: ``"module:function"`` or ``"file.py:function"``, from the working folder.
        fresh_process: start a process for each run, so that nothing is left of the one before;
            otherwise one process makes all runs.
    """

    kind: Literal["function"]
    function: Annotated[str, Field(pattern=CALLABLE)]
    fresh_process: Annotated[bool, Field(strict=True)] = True

    @classmethod
    def located(cls, table: dict[str, Any], folder: Path) -> None:
        """The working folder and the file of the function count from the study file."""
        super().located(table, folder)
        if isinstance(text := table.get("function"), str):
            table["function"] = located_function(text, Path(str(table["cwd"])))

    def files(self) -> dict[Path, bool]:
        """The file of the function, and the modules that it imports from its folders."""
        return dict.fromkeys(function_files(self.function, Path(self.cwd)), True)

    def portable(self, name_of: Callable[[Path], str | None]) -> dict[str, Any]:
        """The copy of its file is named from the working folder."""
        function = function_reference(self.function, name_of(Path(self.cwd)), name_of)
        return {**super().portable(name_of), "function": function}

    @classmethod
    def code(cls, table: Mapping[str, Any]) -> list[tuple[str, Path | None]]:
        """The function, and the files that it is made of."""
        text = in_place(table, "function")
        cwd = Path(str(table.get("cwd", ".")))
        files = function_files(str(table.get("function", "")), cwd)
        return [(text, None), *((str(file), file) for file in files)]


def function_files(function: str, cwd: Path) -> list[Path]:
    """The file of a function, and the modules that it imports from its folder or the working one.

    Args:
        function: ``"file.py:name"`` or ``"module:name"``.
        cwd: working folder.
    """
    place = function.rpartition(":")[0]
    own = [Path(place)] if place.endswith(".py") else module_files(place, [cwd])
    return list(dict.fromkeys([*own, *imported_files(own, [cwd])]))


def function_reference(
    function: str, cwd: str | None, name_of: Callable[[Path], str | None]
) -> str:
    """A function with the copy of its file, from the copy of the working folder.

    Args:
        function: ``"file.py:name"`` or ``"module:name"``.
        cwd: the copy of the working folder, if there is one.
        name_of: as for `ExperimentSpec.portable`.
    """
    place, _, name = function.rpartition(":")
    file = name_of(Path(place)) if place.endswith(".py") else None
    return f"{_from(cwd, file)}:{name}" if file and cwd else function


def _from(folder: str, name: str) -> str:
    """A path from a folder."""
    return Path(os.path.relpath(name, folder)).as_posix()


def in_place(table: Mapping[str, Any], key: str) -> str:
    """What an unchecked table runs, in words."""
    environment = table.get("environment") or ""
    place = f"in {table.get('cwd', '.')}{environment and f' with {environment}'}"
    return f"{table.get(key, '')} {place}"


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


def _names(key: str) -> list[str]:
    """The factors that a key of `vary` names."""
    names = [name.strip() for name in key.split(",")]
    if not all(names):
        raise ValueError(f"{quoted(key)} does not name a factor")
    return names


def _levels(vary: Mapping[str, Sequence[Any]]) -> dict[str, tuple[Any, ...]]:
    """The levels of every factor of `vary`, each once."""
    found = {}
    for key, levels in vary.items():
        for place, name in enumerate(_names(key)):
            own = [level[place] if isinstance(level, list) else level for level in levels]
            found[name] = tuple({(type(level), level): level for level in own}.values())
    return found


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
