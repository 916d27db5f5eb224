"""The design of an experiment: factors, configurations, and their order.

A full factorial design takes every combination of levels, less those that are excluded. The order
is randomised within blocks: block b holds the b-th round of every configuration, or as many rounds
as are trained together, so that a drift of the machine (temperature, other users) meets all
configurations alike. The repetitions of a round stay together as a group, because an engine may
train them together.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from joulelab.errors import SpecError, suggestion
from joulelab.study.seeds import derive_seed
from joulelab.tuning.space import SearchSpace
from joulelab.tuning.strategy import strategies

Level = str | int | float | bool


@dataclass(frozen=True)
class Factor:
    """What is varied, and its levels."""

    name: str
    levels: tuple[Level, ...]


@dataclass(frozen=True)
class Configuration:
    """One combination of levels, and what it means for the training and the tuning.

    Attributes:
        experiment: name of the experiment within the study.
        kind: registered kind of the experiment.
        name: the levels in words; unique within the experiment.
        levels: level of each factor.
        network: registered name.
        network_options: keyword arguments for the network.
        strategy: registered name.
        strategy_seed: what all proposals follow from.
        space: what the strategy searches.
        fixed: hyperparameters that are not searched.
        rounds: proposals of the strategy.
        repetitions: trainings of each proposal, each with its own seed.
    """

    experiment: str
    kind: str
    name: str
    levels: Mapping[str, Level]
    network: str
    network_options: Mapping[str, Any]
    strategy: str
    strategy_seed: int
    space: SearchSpace
    fixed: Mapping[str, float]
    rounds: int
    repetitions: int

    def rounds_at_once(self, rounds_together: int) -> int:
        """How many rounds are trained as one group, where the study allows so many."""
        ahead = strategies.get(self.strategy).proposes_ahead
        return min(rounds_together, self.rounds) if ahead else 1


def full_factorial(
    factors: Sequence[Factor], exclude: Sequence[Mapping[str, Level]] = ()
) -> list[dict[str, Level]]:
    """Every combination of levels, less those that an exclusion matches.

    Args:
        factors: what is varied; the last varies fastest.
        exclude: each names some factors and a level for each; a combination that has all of them
            is left out.

    Raises:
        SpecError: an exclusion names an unknown factor or level, or nothing is left.
    """
    levels = {factor.name: factor.levels for factor in factors}
    for rule in exclude:
        for name, level in rule.items():
            if name not in levels:
                raise SpecError(
                    f"exclude names {name!r}, which is no factor", suggestion(name, levels)
                )
            if not any(_same(level, other) for other in levels[name]):
                raise SpecError(
                    f"exclude names {name} = {level!r}, which is no level of it",
                    "levels: " + ", ".join(map(str, levels[name])),
                )
    combinations = [
        dict(zip(levels, values, strict=True)) for values in itertools.product(*levels.values())
    ]
    kept = [
        combination
        for combination in combinations
        if not any(
            all(_same(combination[name], level) for name, level in rule.items())
            for rule in exclude
            if rule
        )
    ]
    if not kept:
        raise SpecError("exclude leaves no configuration", "exclude fewer combinations")
    return kept


def configuration_name(levels: Mapping[str, Level]) -> str:
    """The levels in words: ``grid, SimpleCNN, hyperparameters=3``."""
    return ", ".join(
        level if isinstance(level, str) else f"{name}={_word(level)}"
        for name, level in levels.items()
    )


def block_order(
    configurations: Sequence[Configuration], study_seed: int, rounds_together: int = 1
) -> list[tuple[int, tuple[int, ...], Configuration]]:
    """Groups as block, rounds and configuration: blocks one after the other, shuffled within.

    Args:
        configurations: of one experiment; one with fewer rounds is absent from the later blocks.
        study_seed: the order follows from it and the number of the block.
        rounds_together: rounds of a block, and of a group where the strategy proposes ahead;
            another strategy has its rounds one by one, in their order.
    """
    order: list[tuple[int, tuple[int, ...], Configuration]] = []
    most = max(configuration.rounds for configuration in configurations)
    for number, first in enumerate(range(0, most, rounds_together)):
        block = range(first, first + rounds_together)
        groups = [_groups(one, block) for one in configurations]
        places = [place for place, of_one in enumerate(groups) for _ in of_one]
        seed = derive_seed(study_seed, "order", configurations[0].experiment, number)
        random.Random(seed).shuffle(places)
        order.extend((number, groups[place].pop(0), configurations[place]) for place in places)
    return order


def _groups(configuration: Configuration, block: range) -> list[tuple[int, ...]]:
    """The rounds of a block by group, in order."""
    rounds = block[: max(0, configuration.rounds - block.start)]
    size = configuration.rounds_at_once(len(block))
    return [tuple(rounds[start : start + size]) for start in range(0, len(rounds), size)]


def _same(level: Level, other: Level) -> bool:
    # In Python True == 1, but a study that excludes relu = 1 has the wrong type of level.
    return isinstance(level, bool) == isinstance(other, bool) and level == other


def _word(level: Level) -> str:
    if isinstance(level, bool):
        return "on" if level else "off"
    return f"{level:g}" if isinstance(level, float) else str(level)
