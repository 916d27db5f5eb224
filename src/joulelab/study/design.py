"""The design of an experiment: factors, configurations, and their order.

A full factorial design has every combination of levels, except excluded ones. The order is
randomised within blocks: block b has a part of the runs of every configuration (the b-th round of a
training, the b-th repetition of a serving window), so that drift of the machine (temperature, other
users) affects all configurations equally. Runs that stay together in a block form a group: the
repetitions of a round may be trained together.
"""

from __future__ import annotations

import hashlib
import itertools
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from joulelab.errors import SpecError, quoted, suggestion

Level = str | int | float | bool
Place = tuple[int, int]
"""Round and repetition of a run."""


@dataclass(frozen=True)
class Factor:
    """A factor and its levels."""

    name: str
    levels: tuple[Level, ...]


@dataclass(frozen=True, kw_only=True)
class Configuration:
    """One combination of levels; most kinds add fields for their workload.

    Attributes:
        experiment: name of the experiment within the study.
        kind: registered kind of the experiment.
        name: the levels in words; unique within the experiment.
        levels: level of each factor.
        repetitions: number of repetitions, each with its own seed.
    """

    experiment: str
    kind: str
    name: str
    levels: Mapping[str, Level]
    repetitions: int

    @property
    def key(self) -> tuple[str, str]:
        """Experiment and name: unique within the study."""
        return self.experiment, self.name

    @property
    def title(self) -> str:
        """The same in words: ``tuning: grid, SimpleCNN``."""
        return f"{self.experiment}: {self.name}"

    def blocks(self) -> Sequence[Sequence[Sequence[Place]]]:
        """For each block its groups in order, each as rounds and repetitions.

        By default each block has one repetition of every configuration.
        """
        return [[[(0, repetition)]] for repetition in range(self.repetitions)]

    def memory_bytes(self) -> int:
        """Minimum memory of a run in bytes, by arithmetic; 0 if it depends on the data."""
        return 0

    def check(self) -> None:
        """Check that it can be run; most configurations have nothing to check.

        Raises:
            UsageError: it is impossible; says why.
        """


def full_factorial(
    factors: Sequence[Factor], exclude: Sequence[Mapping[str, Level]] = ()
) -> list[dict[str, Level]]:
    """Every combination of levels, except excluded ones.

    Args:
        factors: the factors; the last varies fastest.
        exclude: each maps some factors to levels; a combination with all of these is excluded.

    Raises:
        SpecError: an exclusion names an unknown factor or level, or nothing is left.
    """
    levels = {factor.name: factor.levels for factor in factors}
    for rule in exclude:
        for name, level in rule.items():
            if name not in levels:
                raise SpecError(
                    f"exclude names {quoted(name)}, which is not a factor", suggestion(name, levels)
                )
            if _identity(level) not in map(_identity, levels[name]):
                raise SpecError(
                    f"exclude names {name} = {quoted(level)}, which is not one of its levels",
                    "levels: " + ", ".join(map(str, levels[name])),
                )
    rules: dict[tuple[str, ...], set[tuple[object, ...]]] = {}
    for rule in filter(None, exclude):
        rules.setdefault(tuple(rule), set()).add(tuple(map(_identity, rule.values())))
    combinations = (
        dict(zip(levels, values, strict=True)) for values in itertools.product(*levels.values())
    )
    kept = [
        combination
        for combination in combinations
        if not any(
            tuple(_identity(combination[name]) for name in names) in excluded
            for names, excluded in rules.items()
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
    configurations: Sequence[Configuration], study_seed: int
) -> list[tuple[int, tuple[Place, ...], Configuration]]:
    """Groups as block, runs and configuration: blocks in order, shuffled within.

    Args:
        configurations: of one experiment; one with fewer blocks is absent from the later ones.
        study_seed: determines the order, with the number of the block.
    """
    order: list[tuple[int, tuple[Place, ...], Configuration]] = []
    by_block = [configuration.blocks() for configuration in configurations]
    for number in range(max(map(len, by_block))):
        groups = [list(blocks[number]) if number < len(blocks) else [] for blocks in by_block]
        places = [place for place, of_one in enumerate(groups) for _ in of_one]
        seed = derive_seed(study_seed, "order", configurations[0].experiment, number)
        random.Random(seed).shuffle(places)
        order.extend(
            (number, tuple(groups[place].pop(0)), configurations[place]) for place in places
        )
    return order


def _identity(level: Level) -> tuple[bool, Level]:
    # In Python True == 1, but excluding relu = 1 is the wrong type of level.
    return isinstance(level, bool), level


def _word(level: Level) -> str:
    if isinstance(level, bool):
        return "on" if level else "off"
    return f"{level:g}" if isinstance(level, float) else str(level)


def derive_seed(study_seed: int, *identity: str | int) -> int:
    """A seed for one item of a study, independent of time, machine and order.

    Args:
        study_seed: the seed in the study file.
        identity: identity of the item, for instance ``("training", experiment, configuration, 3,
            0)``.

    Returns:
        A whole number from 0 to 2**63 - 1: the first bits of a SHA-256.
    """
    text = "\x1f".join([str(study_seed), *map(str, identity)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:8], "big") >> 1
