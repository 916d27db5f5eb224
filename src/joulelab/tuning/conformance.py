"""Checks for custom strategies. They need no test framework.

    >>> from joulelab.tuning.conformance import check_strategy
    >>> from joulelab.tuning.strategy import strategies
    >>> check_strategy(strategies.get("random"))

`check_strategy` returns nothing if all is well, else raises an ``AssertionError`` with the problem.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Protocol

from joulelab.tuning.space import Choice, Float, Int, SearchSpace, Value
from joulelab.tuning.strategy import Strategy


class MakeStrategy(Protocol):
    """Creates a strategy, called like by a study; for instance the strategy's class."""

    def __call__(self, space: SearchSpace, *, seed: int, rounds: int) -> Strategy:
        """Creates a strategy without observations."""


Score = Callable[[int, Mapping[str, Value]], float | None]
History = list[tuple[dict[str, Value], float | None]]

SPACES: dict[str, SearchSpace] = {
    "continuous": SearchSpace(
        {
            "learning_rate": Float(1e-5, 1e-1, log=True),
            "beta1": Float(0.1, 1.0, high_exclusive=True),
            "beta2": Float(0.8, 1.0, high_exclusive=True),
            "weight_decay": Float(0.0, 0.1, low_exclusive=True),
        }
    ),
    "mixed": SearchSpace(
        {
            "momentum": Float(0.0, 0.99),
            "width": Int(8, 512, log=True),
            "layers": Int(1, 7),
            "activation": Choice(("relu", "tanh", "none")),
            "bias": Choice((False, True)),
        }
    ),
}
"""Spaces on which a strategy is tested."""


def check_strategy(
    make: MakeStrategy, spaces: Mapping[str, SearchSpace] = SPACES, rounds: int = 5, seed: int = 7
) -> None:
    """Check that a strategy stays in the space and can be interrupted and resumed.

    Args:
        make: the class, or a function, called with ``(space, seed=..., rounds=...)``.
        spaces: by name, for messages. A strategy that does not support every kind of variable needs
            other spaces.
        rounds: number of tested rounds, at least 2; a space must allow that many proposals.
        seed: of the strategy.

    Raises:
        AssertionError: a property does not hold; says which, on which space, in which round.
    """
    for where, space in spaces.items():
        for what, score in (
            ("", _smooth),
            (" without any score", lambda number, values: None),
            (" with every other score missing", _every_other_score),
            (" with equal scores", lambda number, values: 0.5),
        ):
            history = _run(make, space, seed, rounds, score, where + what)
            again = _run(make, space, seed, rounds, score, where + what)
            _require(
                again == history,
                f"{where}{what}: two strategies with the same seed and scores propose different "
                "values; draw random numbers only from self.generator(number)",
            )
            _check_replay(make, space, seed, history, where + what)
            if make(space, seed=seed, rounds=rounds).proposes_ahead:
                _check_ahead(make, space, seed, history, where + what)


def _run(
    make: MakeStrategy, space: SearchSpace, seed: int, rounds: int, score: Score, where: str
) -> History:
    """An uninterrupted study, with every proposal requested twice and checked."""
    strategy = make(space, seed=seed, rounds=rounds)
    history: History = []
    for number in range(rounds):
        values = strategy.propose(number)
        _require(
            space.contains(values),
            f"{where}: the proposal of round {number} is not in the space: {values}",
        )
        _require_plain(values, f"{where}: round {number}")
        _require(
            strategy.propose(number) == values,
            f"{where}: a second call of propose({number}) gives other values",
        )
        history.append((dict(values), score(number, values)))
        strategy.observe(number, values, history[-1][1])
    for number, (values, _) in enumerate(history):
        _require(
            strategy.propose(number) == values,
            f"{where}: propose({number}) gives other values once later rounds are known; it must "
            "depend only on earlier rounds",
        )
    return history


def _check_replay(
    make: MakeStrategy, space: SearchSpace, seed: int, history: History, where: str
) -> None:
    for resumed_at, (expected, _) in enumerate(history):
        strategy = make(space, seed=seed, rounds=len(history))
        for number, (values, score) in enumerate(history[:resumed_at]):
            strategy.observe(number, values, score)
        _require(
            strategy.propose(resumed_at) == expected,
            f"{where}: resumed at round {resumed_at}, from observe alone, the strategy proposes "
            "other values than without interruption; keep no state between rounds except what "
            "observe receives",
        )


def _check_ahead(
    make: MakeStrategy, space: SearchSpace, seed: int, history: History, where: str
) -> None:
    strategy = make(space, seed=seed, rounds=len(history))
    proposals = [strategy.propose(number) for number in range(len(history))]
    _require(
        proposals == [values for values, _ in history],
        f"{where}: proposes_ahead is set, but proposals depend on observed scores",
    )


def _require_plain(values: Mapping[str, Value], where: str) -> None:
    """A numpy number works like a float until it is written as JSON or TOML."""
    for name, value in values.items():
        _require(
            type(value) in {float, int, str, bool},
            f"{where}: {name} is a {type(value).__name__}, not a plain Python value",
        )


def _smooth(number: int, values: Mapping[str, Value]) -> float:
    numbers = [float(value) for value in values.values() if not isinstance(value, str)]
    return math.exp(-sum((value - 0.3) ** 2 for value in numbers)) + 0.01 * math.sin(number)


def _every_other_score(number: int, values: Mapping[str, Value]) -> float | None:
    return _smooth(number, values) if number % 2 else None


def _require(holds: bool, message: str) -> None:
    if not holds:
        raise AssertionError(message)
