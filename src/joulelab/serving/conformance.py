"""Checks for custom batching policies and arrival processes. They need no test framework.

    >>> from joulelab.serving.conformance import check_arrivals, check_policy
    >>> from joulelab.serving.arrivals import parse_arrivals
    >>> from joulelab.serving.policies import parse_policy
    >>> check_policy(lambda: parse_policy("fixed(32, wait_ms=50)"))
    >>> check_arrivals(lambda: parse_arrivals("poisson(50)"))

Each returns nothing if all is well, else raises an ``AssertionError`` with the problem.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from joulelab.errors import JoulelabError, UsageError
from joulelab.serving.arrivals import ArrivalProcess, parse_arrivals
from joulelab.serving.policies import Policy, ask, parse_policy

WAITS_S = (0.0, 1e-6, 1e-3, 0.01, 0.0499, 0.05, 0.2, 1.0, 30.0, 1e5)
"""Waiting times of the oldest request in the tested situations."""

ARRIVALS = 20_000
"""Number of tested arrivals, if the process has so many."""

_MOST_ASKED = 10_000
_BLOCKS = 20
_SIGMAS = 6.0


def check_policy(make: Callable[[], Policy]) -> None:
    """Check that a policy returns valid batches, keeps no state, and never waits in vain.

    Args:
        make: called without arguments, creates equal policies.

    Raises:
        AssertionError: a property does not hold; says which, and for which arguments.
    """
    policy = make()
    largest = policy.largest
    _require(
        type(largest) is int and largest >= 1,
        f"{policy}: largest is {largest!r}, not a whole number of at least 1",
    )
    situations = [(waiting, wait_s) for waiting in _numbers_waiting(largest) for wait_s in WAITS_S]
    answers = [_answer(policy, *situation) for situation in situations]
    # The same questions in a different order, to a used and to a new policy.
    backwards = situations[::-1]
    for other, whose in ((policy, "asked again"), (make(), "made anew")):
        again = [_answer(other, *situation) for situation in backwards][::-1]
        _compare(situations, answers, again, f"{policy} {whose} in another order")
    _require(policy.largest == largest, f"{policy}: largest changes; it must stay the same")
    for waiting in _numbers_waiting(largest):
        _check_that_it_serves(policy, waiting)
    text = str(policy)
    try:
        read_back = parse_policy(text)
    except JoulelabError as error:
        raise AssertionError(
            f"its text {text!r} does not name a policy: {error.message}"
        ) from error
    again = [_answer(read_back, *situation) for situation in situations]
    _compare(situations, answers, again, f"the policy that its text {text!r} names")


def check_arrivals(make: Callable[[], ArrivalProcess], folder: Path | None = None) -> None:
    """Check that an arrival process is determined by its seed and keeps its rate.

    Args:
        make: called without arguments, creates equal processes.
        folder: base of a relative path in its text.

    Raises:
        AssertionError: a property does not hold; says which.
    """
    process = make()
    count = ARRIVALS if process.most is None else min(process.most, ARRIVALS)
    times_s = _checked_times(process, count)
    for few in (0, 1):
        _checked_times(process, few)
    for other, whose in ((process, "asked again"), (make(), "made anew")):
        _require(
            bool((_checked_times(other, count) == times_s).all()),
            f"{process} {whose} with the same seed gives other times; draw only from the generator "
            "passed in, and keep no state",
        )
    _check_the_end(process)
    _check_rate(process, times_s)
    before_per_s = process.rate_per_s
    for factor in (0.25, 40.0):
        faster = process.at_rate(factor * before_per_s)
        _require(
            math.isclose(faster.rate_per_s, factor * before_per_s),
            f"{process}: at_rate({factor * before_per_s:g}) has rate {faster.rate_per_s:g}",
        )
        _check_rate(faster, _checked_times(faster, count))
    _require(process.rate_per_s == before_per_s, f"{process}: at_rate changes the process itself")
    text = str(process)
    try:
        read_back = parse_arrivals(text, folder)
    except JoulelabError as error:
        raise AssertionError(
            f"its text {text!r} does not name an arrival process: {error.message}"
        ) from error
    _require(
        bool((_checked_times(read_back, count) == times_s).all()),
        f"the process that its text {text!r} names gives other times",
    )


def _numbers_waiting(largest: int) -> list[int]:
    few = {1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144, 1000}
    return sorted(few | {max(1, largest - 1), largest, largest + 1, 2 * largest, 10 * largest})


def _answer(policy: Policy, waiting: int, wait_s: float) -> tuple[int, float]:
    """The number taken or, if 0, the time to wait."""
    where = f"take({waiting}, {wait_s:g})"
    try:
        taken = ask(policy, waiting, wait_s)
    except JoulelabError as error:
        raise AssertionError(str(error)) from error
    if taken:
        return taken, 0.0
    _require(
        waiting < policy.largest,
        f"{policy}: {where} gave 0 although a full batch of {policy.largest} is waiting; waiting "
        "longer gains nothing",
    )
    patience_s = policy.patience_s(waiting, wait_s)
    _require(
        isinstance(patience_s, float | int) and patience_s > 0,
        f"{policy}: patience_s({waiting}, {wait_s:g}) gave {patience_s!r} after a take of 0; it "
        "must be above 0",
    )
    return 0, float(patience_s)


def _compare(
    situations: Iterable[tuple[int, float]],
    answers: Iterable[tuple[int, float]],
    again: Iterable[tuple[int, float]],
    who: str,
) -> None:
    for (waiting, wait_s), first, second in zip(situations, answers, again, strict=True):
        _require(
            first == second,
            f"{who} answers take({waiting}, {wait_s:g}) differently the second time: {second[0]}, "
            f"not {first[0]}; "
            "it must decide from its arguments alone",
        )


def _check_that_it_serves(policy: Policy, waiting: int) -> None:
    """Without further arrivals it serves eventually, or waits for more requests."""
    wait_s = 0.0
    for _ in range(_MOST_ASKED):
        taken, patience_s = _answer(policy, waiting, wait_s)
        if taken or math.isinf(patience_s):
            return
        wait_s += patience_s
    raise AssertionError(
        f"{policy}: with {waiting} waiting it was asked {_MOST_ASKED:,} times in {wait_s:g} s and "
        "served nothing; patience_s must say when it will"
    )


def _checked_times(process: ArrivalProcess, count: int) -> NDArray[np.float64]:
    times_s = process.times_s(count, np.random.default_rng(7))
    _require(
        isinstance(times_s, np.ndarray) and times_s.dtype == np.float64,
        f"{process}: times_s does not return an array of float64",
    )
    _require(
        times_s.shape == (count,),
        f"{process}: times_s({count}) gives the shape {times_s.shape}, not ({count},)",
    )
    _require(bool(np.isfinite(times_s).all()), f"{process}: a time is not finite")
    _require(
        bool((np.diff(times_s, prepend=0.0) >= 0).all()),
        f"{process}: times must begin at 0 or later and never decrease",
    )
    return times_s


def _check_the_end(process: ArrivalProcess) -> None:
    if process.most is None:
        return
    try:
        process.times_s(process.most + 1, np.random.default_rng(7))
    except UsageError:
        return
    raise AssertionError(
        f"{process}: has {process.most} arrivals at most, but returns one more; raise a UsageError"
    )


def _check_rate(process: ArrivalProcess, times_s: NDArray[np.float64]) -> None:
    """Compare the mean gap with the rate, within the scatter of its parts."""
    rate_per_s = process.rate_per_s
    _require(
        math.isfinite(rate_per_s) and rate_per_s > 0,
        f"{process}: rate_per_s is {rate_per_s!r}, not a number above 0",
    )
    whole = len(times_s) // _BLOCKS * _BLOCKS
    if process.most is not None or not whole:
        return
    gaps_s = np.diff(times_s[:whole], prepend=0.0).reshape(_BLOCKS, -1).mean(axis=1)  # (blocks,)
    error_s = float(gaps_s.std(ddof=1)) / math.sqrt(_BLOCKS)
    _require(
        abs(float(gaps_s.mean()) - 1 / rate_per_s) <= _SIGMAS * error_s + 0.01 / rate_per_s,
        f"{process}: {whole} arrivals came at {1 / gaps_s.mean():.4g}/s, and rate_per_s is "
        f"{rate_per_s:.4g}",
    )


def _require(holds: bool, message: str) -> None:
    if not holds:
        raise AssertionError(message)
