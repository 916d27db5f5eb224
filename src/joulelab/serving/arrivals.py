"""Arrival processes of requests.

    f    mean rate, requests per second
    t_k  time of the k-th arrival, k = 1 ... count, in seconds; t_1 comes one gap after the start

======================  ===========================================================================
uniform-jitter(f, j)    gaps (1/f) U(1 - j, 1 + j); Yarally et al. (SEAA 2023) have j = 0.2
poisson(f)              gaps (1/f) Exp(1)
bursty(f, on, off)      interrupted Poisson process: on for Exp(on) seconds, off for Exp(off), and
                        while on Poisson arrivals at f (on + off) / on (Kuczura, Bell System
                        Technical Journal 52, 1973)
trace(file.csv)         the times in a file, starting at its first; see `joulelab.serving.trace`
======================  ===========================================================================

A rate is a number, in requests per second, or has its unit: ``50/min``, ``1000000/day``.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray

from joulelab.formats import significant
from joulelab.registry import Registry
from joulelab.serving.call_syntax import BuiltFromCall, build, call_text, require

MOST_DRAWN = 5_000_000
"""Most arrivals of a split process drawn for one window of one replica."""
_LEAST_LEFT = 1000
_SIGMAS = 5


class ArrivalProcess(BuiltFromCall, ABC):
    """An arrival process; all randomness comes from the generator."""

    @property
    @abstractmethod
    def rate_per_s(self) -> float:
        """Mean rate in requests per second."""

    @property
    def most(self) -> int | None:
        """Maximum number of arrivals; ``None`` without a limit."""
        return None

    @property
    def remarks(self) -> tuple[str, ...]:
        """Notes for readers of results."""
        return ()

    @abstractmethod
    def times_s(self, count: int, rng: np.random.Generator) -> NDArray[np.float64]:
        """Times of the first arrivals.

        Args:
            count: number of arrivals.
            rng: the same generator gives the same times.

        Returns:
            (count,) seconds from the start, never decreasing.

        Raises:
            UsageError: there are fewer arrivals.
        """

    @abstractmethod
    def at_rate(self, rate_per_s: float) -> ArrivalProcess:
        """The same process, faster or slower.

        Args:
            rate_per_s: the new mean rate.

        Raises:
            UsageError: it is not above 0.
        """


@dataclass(frozen=True)
class _AtMeanRate(ArrivalProcess):
    """Base of processes with a given mean rate f."""

    f: float

    def __post_init__(self) -> None:
        above = math.isfinite(self.f) and self.f > 0
        require(above, self, "the rate must be above 0", "for example poisson(50)")

    @property
    def rate_per_s(self) -> float:
        """Mean rate in requests per second."""
        return self.f

    def at_rate(self, rate_per_s: float) -> Self:
        """The same process with a different f."""
        return replace(self, f=rate_per_s)


@dataclass(frozen=True)
class UniformJitter(_AtMeanRate):
    """Regular arrivals with uniform jitter.

    Args:
        f: mean rate in requests per second.
        jitter: the gap is up to this share shorter or longer than its mean; from 0 to below 1.

    Raises:
        UsageError: a number is impossible.
    """

    jitter: float = 0.2

    def __post_init__(self) -> None:
        super().__post_init__()
        require(0 <= self.jitter < 1, self, "jitter must be at least 0 and below 1")

    def times_s(self, count: int, rng: np.random.Generator) -> NDArray[np.float64]:
        """(count,) arrival times in seconds."""
        return np.cumsum(rng.uniform(1 - self.jitter, 1 + self.jitter, count) / self.f)

    def __str__(self) -> str:
        return call_text("uniform-jitter", self.f, self.jitter)


@dataclass(frozen=True)
class Poisson(_AtMeanRate):
    """Independent arrivals.

    Args:
        f: mean rate in requests per second.

    Raises:
        UsageError: it is not above 0.
    """

    def times_s(self, count: int, rng: np.random.Generator) -> NDArray[np.float64]:
        """(count,) arrival times in seconds."""
        return np.cumsum(rng.exponential(1 / self.f, count))

    def __str__(self) -> str:
        return call_text("poisson", self.f)


@dataclass(frozen=True)
class Bursty(_AtMeanRate):
    """Bursts and pauses: a Poisson process that is switched on and off.

    Args:
        f: mean rate over on and off periods, in requests per second.
        on_s: mean length of an on period in seconds.
        off_s: mean length of an off period in seconds.

    Raises:
        UsageError: a number is not above 0.
    """

    on_s: float = 1.0
    off_s: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        _require_positive(self, "on_s must be above 0 seconds", self.on_s)
        _require_positive(self, "off_s must be above 0 seconds; else write poisson(f)", self.off_s)

    def times_s(self, count: int, rng: np.random.Generator) -> NDArray[np.float64]:
        """(count,) arrival times in seconds; whether it begins on or off is drawn too."""
        share_on = self.on_s / (self.on_s + self.off_s)
        # On a clock that runs during on periods only, arrivals are Poisson and each off period
        # is a jump in between.
        on_clock_s = np.cumsum(rng.exponential(share_on / self.f, count))
        ends_s = np.empty(0)
        last_s = float(on_clock_s[-1]) if count else 0.0
        while not len(ends_s) or ends_s[-1] < last_s:
            begun_s = ends_s[-1] if len(ends_s) else 0.0
            more = 16 + int((last_s - begun_s) / self.on_s)
            drawn = begun_s + np.cumsum(rng.exponential(self.on_s, more))
            ends_s = np.concatenate((ends_s, drawn))
        silences_s = rng.exponential(self.off_s, len(ends_s) + 1)
        if rng.random() < share_on:
            silences_s[0] = 0.0
        gone_s = np.cumsum(silences_s)
        times: NDArray[np.float64] = on_clock_s + gone_s[np.searchsorted(ends_s, on_clock_s)]
        return times

    def __str__(self) -> str:
        return call_text("bursty", self.f, on_s=self.on_s, off_s=self.off_s)


arrivals: Registry[type[ArrivalProcess]] = Registry(
    "arrival process",
    "joulelab.arrivals",
    {
        "uniform-jitter": (
            "joulelab.serving.arrivals:UniformJitter",
            "uniform-jitter(f, jitter=0.2): regular arrivals with jittered gaps",
        ),
        "poisson": ("joulelab.serving.arrivals:Poisson", "poisson(f): independent arrivals"),
        "bursty": (
            "joulelab.serving.arrivals:Bursty",
            "bursty(f, on_s=1, off_s=1): Poisson arrivals switched on and off",
        ),
        "trace": (
            "joulelab.serving.trace:Trace",
            "trace(file.csv, rate_per_s, column): times from a file, rescaled to a rate if given",
        ),
    },
)


def parse_arrivals(text: str, folder: Path | None = None) -> ArrivalProcess:
    """Parse an arrival process, for instance ``poisson(50)``.

    Args:
        text: a call.
        folder: base of a trace's relative path; default: the current folder.

    Raises:
        UnknownNameError: the arrival process is unknown.
        UsageError: its arguments are missing, of the wrong type or impossible, or a trace cannot be
            read.
    """
    return build(arrivals, text, folder=folder)


@dataclass(frozen=True)
class Thinned(ArrivalProcess):
    """The share of one replica when requests are split among several at random.

    Each arrival of the whole stays with probability 1 / N, independent of the others.

    Args:
        whole: the process that is split.
        replicas: number of replicas.
    """

    whole: ArrivalProcess
    replicas: int

    @property
    def rate_per_s(self) -> float:
        """The share of the rate."""
        return self.whole.rate_per_s / self.replicas

    @property
    def most(self) -> int | None:
        """Minimum share of a finite process for a replica, except with probability 10^-6."""
        if self.whole.most is None:
            return None
        mean = self.whole.most / self.replicas
        return max(0, math.floor(mean - _SIGMAS * math.sqrt(mean)))

    def times_s(self, count: int, rng: np.random.Generator) -> NDArray[np.float64]:
        """(count,) arrival times in seconds."""
        # Between two arrivals of this replica, the number in the whole stream is geometric.
        places = np.cumsum(rng.geometric(1 / self.replicas, count))
        if not count:
            return np.empty(0)
        times_s: NDArray[np.float64] = self.whole.times_s(int(places[-1]), rng)[places - 1]
        return times_s

    def at_rate(self, rate_per_s: float) -> Thinned:
        """The share of the same process at another rate."""
        return Thinned(self.whole.at_rate(rate_per_s * self.replicas), self.replicas)

    def __str__(self) -> str:
        return f"{self.whole} split among {self.replicas:,}"


def thinned(whole: ArrivalProcess, replicas: int, requests: int) -> tuple[ArrivalProcess, str]:
    """The arrivals at one of several replicas.

    A Poisson process split at random stays Poisson, at rate / N; so does an interrupted Poisson
    process, with the same on and off periods. The arrivals of any other process are drawn for the
    whole stream and thinned, if there are not too many.

    Args:
        whole: the process that is split at random.
        replicas: number of replicas, at least 1.
        requests: number to simulate for one replica.

    Returns:
        The process, and a description of the approximation; empty if exact.
    """
    share_per_s = whole.rate_per_s / replicas
    if replicas == 1:
        return whole, ""
    if type(whole) in (Poisson, Bursty):
        return whole.at_rate(share_per_s), ""
    share = Thinned(whole, replicas)
    if share.most is None and replicas * requests <= MOST_DRAWN:
        return share, ""
    if share.most is not None and share.most >= _LEAST_LEFT:
        return share, ""
    if type(whole) is UniformJitter:
        return Poisson(share_per_s), (
            f"{whole} split among {replicas:,} is approximated by Poisson arrivals, which it "
            "approaches when split among many"
        )
    return whole.at_rate(share_per_s), (
        f"each of {replicas:,} replicas gets {whole} slowed down to "
        f"{significant(share_per_s)}/s: a random split would give each too few arrivals"
    )


def _require_positive(process: ArrivalProcess, rule: str, value: float) -> None:
    require(math.isfinite(value) and value > 0, process, rule)
