"""The plan: every run of a study, in order, before anything starts."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from joulelab.study.design import Configuration, block_order, full_factorial
from joulelab.study.seeds import derive_seed
from joulelab.study.spec import StudySpec
from joulelab.study.store import PlannedRun
from joulelab.tuning.strategy import strategies


@dataclass(frozen=True)
class Group:
    """All repetitions of one round of one configuration, or of several rounds.

    Attributes:
        configuration: what is trained.
        rounds: their numbers, in order; several only where the strategy proposes them ahead.
        runs: round after round.
    """

    configuration: Configuration
    rounds: tuple[int, ...]
    runs: tuple[PlannedRun, ...]


@dataclass(frozen=True)
class Plan:
    """All groups in the order in which they are run.

    Attributes:
        groups: experiment after experiment, block after block.
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


def make_plan(spec: StudySpec) -> Plan:
    """Lay out a study.

    Raises:
        SpecError: an experiment excludes what it does not have, or everything.
        UsageError: a strategy cannot propose as many rounds as are asked for.
    """
    groups: list[Group] = []
    everything: list[Configuration] = []
    factors: dict[str, list[str]] = {}
    position = block = 0
    for name, experiment in spec.experiments().items():
        varied = experiment.factors()
        factors[name] = [factor.name for factor in varied]
        configurations = [
            experiment.configuration(name, levels, spec.seed)
            for levels in full_factorial(varied, experiment.exclude)
        ]
        everything += configurations
        for one in configurations:
            _check_rounds(one)
        order = block_order(configurations, spec.seed, spec.rounds_together)
        for number, rounds, configuration in order:
            runs = _runs(spec.seed, configuration, rounds, position, block + number)
            groups.append(Group(configuration, rounds, runs))
            position += len(runs)
        block += 1 + order[-1][0]
    return Plan(tuple(groups), tuple(everything), factors)


def _check_rounds(configuration: Configuration) -> None:
    """Ask for the last round, where it does not depend on the others: a grid may be too small."""
    strategy = strategies.get(configuration.strategy)
    if strategy.proposes_ahead:
        made = strategy(configuration.space, configuration.strategy_seed, configuration.rounds)
        made.propose(configuration.rounds - 1)


def _runs(
    study_seed: int,
    configuration: Configuration,
    rounds: Sequence[int],
    position: int,
    block: int,
) -> tuple[PlannedRun, ...]:
    experiment, name = configuration.experiment, configuration.name
    places = itertools.product(rounds, range(configuration.repetitions))
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
            seed=derive_seed(study_seed, "training", experiment, name, number, repetition),
        )
        for offset, (number, repetition) in enumerate(places)
    )
