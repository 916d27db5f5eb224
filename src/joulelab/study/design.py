"""The design of an experiment: factors, configurations, and their order.

A full factorial design has every combination of levels, except excluded ones. Where that is too
much there are two kinds of fraction, in which main effects stay apart from each other:

- a **Latin square** of L levels: of three factors L^2 combinations, in which every pair of levels
  of two factors occurs once. Level k = i + j (mod L); further factors k = i + 2j, i + 3j, ..., if L
  is prime (Fisher, The Design of Experiments, 1935);
- a **regular fraction** of factors with two levels: 1/2^p of the combinations, those in which the
  last p factors are products of others (Box, Hunter and Hunter, Statistics for Experimenters,
  1978). The products are chosen for the largest resolution, which is the length of the shortest
  product of factors that is constant; among equals, for the fewest such products. At resolution
  III main effects are mixed with products of two factors, from IV on they are not.

The order is randomised within blocks: block b has a part of the runs of every configuration (the
b-th round of a training, the b-th repetition of a serving window), so that drift of the machine
(temperature, other users) affects all configurations equally. Runs that stay together in a block
form a group: the repetitions of a round may be trained together.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import math
import operator
import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from joulelab.errors import SpecError, quoted, suggestion

Level = str | int | float | bool
Place = tuple[int, int]
"""Round and repetition of a run."""
LEAST_FACTORS = 3
"""With two factors a Latin square is the full design, and half of it mixes the factors."""
MOST_GENERATORS = 100_000
"""More variants of a fraction take too long to compare."""


@dataclass(frozen=True)
class Factor:
    """A factor and its levels."""

    name: str
    levels: tuple[Level, ...]


@dataclass(frozen=True)
class MainMetric:
    """What a run is judged by, beside its energy.

    Attributes:
        name: column of the results.
        better: which direction is better; empty where unknown.
        per: column of the results that the energy of a run is divided by; empty: it is not divided.
        unit: that it counts, ``request`` or ``image``.
    """

    name: str = "accuracy"
    better: Literal["max", "min", ""] = "max"
    per: str = ""
    unit: str = ""


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

    seed_bits: ClassVar[int] = 63
    """Length of the seed of a run."""

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

    def seed(self, study_seed: int, purpose: str, *place: int) -> int:
        """A seed for something that this configuration does.

        Args:
            study_seed: the seed in the study file.
            purpose: what it is for.
            place: its numbers, such as round and repetition.
        """
        return derive_seed(study_seed, purpose, *self.key, *place) >> (63 - self.seed_bits)

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
    names = [factor.name for factor in factors]
    products = itertools.product(*(factor.levels for factor in factors))
    return without((dict(zip(names, levels, strict=True)) for levels in products), factors, exclude)


def without(
    combinations: Iterable[dict[str, Level]],
    factors: Sequence[Factor],
    exclude: Sequence[Mapping[str, Level]],
) -> list[dict[str, Level]]:
    """Combinations except excluded ones.

    Args:
        combinations: a level for each factor.
        factors: the factors.
        exclude: as for `full_factorial`.

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


def latin_square(sizes: Sequence[int]) -> list[tuple[int, ...]]:
    """Positions of the levels of a Latin square, one tuple a combination.

    Args:
        sizes: number of levels of each factor: at least three factors, all with the same number.

    Raises:
        SpecError: there is none.

    >>> latin_square([3, 3, 3])[:4]
    [(0, 0, 0), (0, 1, 1), (0, 2, 2), (1, 0, 1)]
    """
    count, size = len(sizes), sizes[0]
    if count < LEAST_FACTORS or set(sizes) != {size}:
        raise SpecError(
            "a Latin square needs three or more factors with the same number of levels, and these "
            f"have {' x '.join(map(str, sizes))}",
            'use design = "full"',
        )
    prime = size > 1 and all(size % divisor for divisor in range(2, math.isqrt(size) + 1))
    most = size + 1 if prime else LEAST_FACTORS
    if count > most:
        raise SpecError(
            f"a Latin square of {size} levels has at most {most} factors, not {count}",
            "use fewer factors, or a larger number of levels that is prime",
        )
    return [
        (i, j, *((i + step * j) % size for step in range(1, count - 1)))
        for i, j in itertools.product(range(size), repeat=2)
    ]


def regular_fraction(sizes: Sequence[int], halvings: int = 1) -> list[tuple[int, ...]]:
    """Positions of the levels of a regular fraction of factors with two levels each.

    Args:
        sizes: number of levels of each factor, all 2.
        halvings: p; the fraction has 1/2^p of all combinations.

    Raises:
        SpecError: there is none.

    >>> regular_fraction([2, 2, 2])             # the third is the product of the others
    [(0, 0, 1), (0, 1, 0), (1, 0, 0), (1, 1, 1)]
    """
    count = len(sizes)
    if set(sizes) != {2} or count < LEAST_FACTORS:
        raise SpecError(
            "a fraction needs three or more factors with two levels each, and these have "
            f"{' x '.join(map(str, sizes))}",
            'use design = "full", or "latin-square" for equal numbers of levels',
        )
    free = count - halvings
    products = [
        mask for mask in range(1, 2**free) if mask.bit_count() > 1
    ]  # sets of the factors that vary freely, as bits
    if len(products) < halvings:
        raise SpecError(
            f"of {count} factors, 1/{2**halvings} of the combinations cannot keep them apart",
            "use a larger fraction",
        )
    if math.comb(len(products), halvings) > MOST_GENERATORS:
        raise SpecError(
            f"1/{2**halvings} of {count} factors has too many variants to choose from",
            "use a larger fraction, or fewer factors",
        )
    chosen = min(
        itertools.combinations(reversed(products), halvings),
        key=lambda generators: _words_of(generators, free),
    )
    return [
        tuple((number >> (free - 1 - place)) & 1 for place in range(free))
        + tuple(
            1 - ((number & _mirrored(mask, free)).bit_count() + mask.bit_count()) % 2
            for mask in chosen
        )
        for number in range(2**free)
    ]


def _mirrored(mask: int, width: int) -> int:
    """The bits in the opposite order: the first factor is the highest bit of a number."""
    return int(f"{mask:0{width}b}"[::-1], 2)


def _words_of(generators: Sequence[int], free: int) -> tuple[int, ...]:
    """Lengths of the constant products, to be minimal: how many of length 1, 2, 3, ..."""
    whole = [mask | 1 << (free + place) for place, mask in enumerate(generators)]
    lengths = [0] * (free + len(generators) + 1)
    for size in range(1, len(whole) + 1):
        for some in itertools.combinations(whole, size):
            lengths[functools.reduce(operator.xor, some).bit_count()] += 1
    return tuple(lengths)


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
