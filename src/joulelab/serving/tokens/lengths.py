"""Lengths of prompts and answers in tokens, drawn for each request.

======================  ===========================================================================
128, fixed(128)         always the same
uniform(64, 512)        whole numbers from the first to the last, all as likely
lognormal(200, 0.5)     200 exp(0.5 Z) with Z ~ N(0, 1), rounded: the median is 200, the mean
                        200 exp(0.5^2 / 2); lognormal(200, 0.5, most=2000) cuts longer ones
======================  ===========================================================================
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from joulelab.registry import Registry
from joulelab.serving.call_syntax import BuiltFromCall, build, require

Counts = NDArray[np.int64]
MOST_TOKENS = 10_000_000


class Lengths(BuiltFromCall, ABC):
    """A distribution of lengths; all randomness comes from the generator."""

    @abstractmethod
    def draw(self, count: int, rng: np.random.Generator) -> Counts:
        """(count,) lengths in tokens, at least 1.

        Args:
            count: how many.
            rng: the same generator gives the same lengths.
        """


@dataclass(frozen=True)
class Fixed(Lengths):
    """Always the same length.

    Args:
        tokens: at least 1.

    Raises:
        UsageError: it is not.
    """

    tokens: int

    def __post_init__(self) -> None:
        require(1 <= self.tokens <= MOST_TOKENS, self, "tokens must be at least 1", "write 128")

    def draw(self, count: int, rng: np.random.Generator) -> Counts:
        """(count,) times the same."""
        return np.full(count, self.tokens, np.int64)

    def __str__(self) -> str:
        return f"fixed({self.tokens})"


@dataclass(frozen=True)
class Uniform(Lengths):
    """Every length between two, equally likely.

    Args:
        least: at least 1.
        most: the longest.

    Raises:
        UsageError: a number is impossible.
    """

    least: int
    most: int

    def __post_init__(self) -> None:
        ordered = 1 <= self.least <= self.most <= MOST_TOKENS
        require(ordered, self, "lengths must be at least 1, the shorter first", "uniform(64, 512)")

    def draw(self, count: int, rng: np.random.Generator) -> Counts:
        """(count,) independent lengths."""
        return rng.integers(self.least, self.most, size=count, endpoint=True)

    def __str__(self) -> str:
        return f"uniform({self.least}, {self.most})"


@dataclass(frozen=True)
class Lognormal(Lengths):
    """Lengths whose logarithm is normal, as those of conversations nearly are.

    Args:
        median: in tokens.
        sigma: standard deviation of the logarithm.
        most: longer ones are cut to this.

    Raises:
        UsageError: a number is impossible.
    """

    median: float
    sigma: float
    most: int = MOST_TOKENS

    def __post_init__(self) -> None:
        possible = 1 <= self.median <= self.most <= MOST_TOKENS and 0 <= self.sigma < math.inf
        rule = "the median must be at least 1 and at most `most`, sigma at least 0"
        require(possible, self, rule, "lognormal(200, 0.5)")

    def draw(self, count: int, rng: np.random.Generator) -> Counts:
        """(count,) independent lengths."""
        drawn = self.median * np.exp(self.sigma * rng.standard_normal(count))
        tokens: Counts = np.rint(drawn.clip(1, self.most)).astype(np.int64)
        return tokens

    def __str__(self) -> str:
        cut = "" if self.most == MOST_TOKENS else f", most={self.most}"
        return f"lognormal({self.median:g}, {self.sigma:g}{cut})"


lengths: Registry[type[Lengths]] = Registry(
    "length",
    "joulelab.lengths",
    {
        "fixed": ("joulelab.serving.tokens.lengths:Fixed", "fixed(128): always the same"),
        "uniform": (
            "joulelab.serving.tokens.lengths:Uniform",
            "uniform(64, 512): all lengths between, equally likely",
        ),
        "lognormal": (
            "joulelab.serving.tokens.lengths:Lognormal",
            "lognormal(200, 0.5): median and spread of the logarithm",
        ),
    },
)


def parse_lengths(text: str) -> Lengths:
    """Parse a distribution of lengths; a bare number is a fixed length.

    Raises:
        UnknownNameError: the distribution is unknown.
        UsageError: its arguments are missing, of the wrong type or impossible.
    """
    return build(lengths, f"fixed({text})" if text.strip().isdecimal() else text)
