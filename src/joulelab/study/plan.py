"""The plan: every run of a study, in order, before anything starts."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from joulelab.errors import SpecError, quoted
from joulelab.settings import load_limits
from joulelab.study.column_names import COLUMNS, FACTORS
from joulelab.study.design import Configuration, Factor, Place, block_order
from joulelab.study.planned_run import PlannedRun
from joulelab.study.spec import ExperimentSpec, StudySpec

DONE = {"finished", "failed"}
"""Final states of a run."""
GB = 10**9
RUNS = "training"
"""Name used to derive the seeds of all runs; changing it would change those of stored studies."""

MANY = 10**15
"""From this on a number is written as a power of ten."""


@dataclass(frozen=True)
class Group:
    """Runs of one configuration that stay together.

    Attributes:
        configuration: the configuration.
        runs: in order of round and repetition.
    """

    configuration: Configuration
    runs: tuple[PlannedRun, ...]

    @property
    def rounds(self) -> tuple[int, ...]:
        """Numbers of the rounds, in order."""
        return tuple(dict.fromkeys(run.round for run in self.runs))


@dataclass(frozen=True)
class Plan:
    """All groups in order of execution.

    Attributes:
        groups: by experiment and block.
        configurations: each once, in the order of the study file.
        factors: names of the factors of each experiment.
    """

    groups: tuple[Group, ...]
    configurations: tuple[Configuration, ...]
    factors: Mapping[str, Sequence[str]]

    @property
    def runs(self) -> list[PlannedRun]:
        """Every run in order."""
        return [run for group in self.groups for run in group.runs]

    def left(self, states: Mapping[str, str]) -> list[PlannedRun]:
        """The runs that are not finished.

        Args:
            states: of runs, by their id.
        """
        return [run for run in self.runs if states.get(run.run_id) not in DONE]

    def configurations_left(self, states: Mapping[str, str]) -> list[Configuration]:
        """The configurations of these runs.

        Args:
            states: of runs, by their id.
        """
        keys = {(run.experiment, run.configuration) for run in self.left(states)}
        return [one for one in self.configurations if one.key in keys]


def make_plan(spec: StudySpec) -> Plan:
    """Plan a study.

    Raises:
        SpecError: an experiment excludes unknown levels or everything, or the study exceeds the
            limits of this machine.
        UsageError: a strategy cannot propose the requested number of rounds.
    """
    check_size(spec)
    groups: list[Group] = []
    everything: list[Configuration] = []
    factors: dict[str, list[str]] = {}
    position = block = 0
    for name, experiment in spec.experiments().items():
        factors[name] = [factor.name for factor in experiment.factors()]
        configurations = configurations_of(spec, name, experiment)
        everything += configurations
        for one in configurations:
            one.check()
            check_memory(one, one.memory_bytes())
        order = block_order(configurations, spec.seed)
        for number, places, configuration in order:
            runs = _runs(spec.seed, configuration, places, position, block + number)
            groups.append(Group(configuration, runs))
            position += len(runs)
        block += 1 + order[-1][0]
    return Plan(tuple(groups), tuple(everything), factors)


def configurations_of(
    spec: StudySpec, name: str, experiment: ExperimentSpec
) -> list[Configuration]:
    """Every configuration of an experiment, in the order of the study file.

    Args:
        spec: the study.
        name: of the experiment.
        experiment: its table.

    Raises:
        SpecError: a factor is not valid, or it excludes unknown levels or everything.
    """
    _check_factors(name, experiment.factors())
    configurations = [
        experiment.configuration(name, levels, spec) for levels in experiment.combinations()
    ]
    names = Counter(one.name for one in configurations)
    if twice := next((one for one, count in names.items() if count > 1), None):
        raise SpecError(
            f"{name}: two configurations have the name {quoted(twice)}",
            "levels of a factor must differ in their first six digits",
        )
    return configurations


def _check_factors(experiment: str, factors: Sequence[Factor]) -> None:
    """Check names and levels, which a kind from outside may take from a study file unchecked."""
    names = Counter(factor.name for factor in factors)
    for factor in factors:
        where = f"{experiment}: the factor {quoted(factor.name)}"
        if names[factor.name] > 1:
            raise SpecError(f"{where} occurs twice", "give each factor its own name")
        if factor.name in COLUMNS - FACTORS:
            raise SpecError(f"{where} has the name of a column of the results", "rename it")
        if not factor.levels:
            raise SpecError(f"{where} has no level", "give it one or more levels")
        levels = Counter((type(level), level) for level in factor.levels)
        if twice := [level for (_, level), count in levels.items() if count > 1]:
            raise SpecError(f"{where}: the level {quoted(twice[0])} occurs twice", "leave one out")


def _runs(
    study_seed: int,
    configuration: Configuration,
    places: Sequence[Place],
    position: int,
    block: int,
) -> tuple[PlannedRun, ...]:
    experiment, name = configuration.experiment, configuration.name
    return tuple(
        PlannedRun(
            run_id=f"{experiment}/{name}/{number}/{repetition}",
            position=position + offset,
            block=block,
            experiment=experiment,
            kind=configuration.kind,
            configuration=name,
            factors=configuration.levels,
            round=number,
            repetition=repetition,
            seed=configuration.seed(study_seed, RUNS, number, repetition),
        )
        for offset, (number, repetition) in enumerate(places)
    )


def check_size(spec: StudySpec) -> None:
    """Refuse a study with too many runs, before planning it.

    Raises:
        SpecError: names the experiment, the numbers, and the limit.
    """
    limits, total = load_limits(), 0
    for name, experiment in spec.experiments().items():
        most, counts = experiment.most_combinations(), experiment.counts()
        total += most * math.prod(counts.values())
        if total > limits.runs:
            made_of = [f"{_many(most)} configurations"]
            made_of += [f"{_many(count)} {what}" for what, count in counts.items()]
            raise SpecError(
                f"{name} has {' x '.join(made_of)}, which makes {_many(total)} runs in all; the "
                f"limit is {limits.runs:,}",
                f"use fewer, or {limits.raised('runs')}",
            )


def check_memory(one: Configuration, needed: int) -> None:
    """Refuse a configuration whose runs need too much memory.

    Args:
        one: the configuration.
        needed: minimum memory of a run in bytes.

    Raises:
        SpecError: gives the memory and the limit.
    """
    limits = load_limits()
    if needed > limits.memory_gb * GB:
        raise SpecError(
            f"{one.title} needs {_many(needed // GB)} GB of memory or more; the "
            f"limit is {limits.memory_gb:,.1f} GB",
            f"use smaller batches, images or networks, or {limits.raised('memory_gb')}",
        )


def _many(number: int) -> str:
    return f"{number:,}" if number < MANY else f"10^{math.log10(number):.0f}"
