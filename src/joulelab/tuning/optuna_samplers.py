"""Strategies of Optuna, for comparison: TPE, a Gaussian process, CMA-ES.

========  ==========================================================================================
tpe       tree-structured Parzen estimator over all variables jointly: highest density ratio l / g,
          l of the best gamma(n) = min(n / 10, 25) scores, g of the others
gp        Gaussian process (Matern 5/2, a length for each variable), highest log expected
          improvement
cma-es    evolution strategy: a generation of normal draws, whose mean and covariance the best half
          of the previous generation determine; unordered choices are drawn uniformly
========  ==========================================================================================

Sources: Bergstra et al., NeurIPS 2011 (TPE), multivariate after Falkner et al., ICML 2018; Ament et
al., NeurIPS 2023 (log expected improvement); Hansen, arXiv 1604.00772 (CMA-ES); Optuna: Akiba et
al., KDD 2019.

An Optuna study that is stopped and resumed proposes other values than without the interruption,
because the state of its sampler is lost. Here each round has a new sampler, seeded by the seed and
the round, and all it knows is in the study, which is rebuilt from the observed rounds.

Ordered choices are whole numbers to Optuna, the indices of their levels. Optuna ignores failed
rounds.
"""
# ruff: noqa: ANN401 - Optuna is optional: its types are not known here

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, ClassVar

from joulelab.optional import optional
from joulelab.tuning import blas
from joulelab.tuning.space import Codes, Float, Int, SearchSpace, Value, Variable
from joulelab.tuning.strategy import Strategy

STARTUP = 10
"""Rounds of uniform draws before the samplers model anything: Optuna's default."""

_SEEDS = 2**31


@dataclass(frozen=True)
class _Seen:
    number: int
    parameters: tuple[float, ...]
    score: float | None


class OptunaStrategy(Strategy):
    """Proposes what a sampler of Optuna proposes after the observed rounds.

    Args:
        space: what is searched.
        seed: with the round, that of the sampler.
        rounds: number of rounds; not used.

    Attributes:
        needs: further modules that must be importable.
        in_trials: whether the sampler keeps its state in the trials that it proposed. Then a study
            is rebuilt by asking for all of them again.
    """

    needs: ClassVar[tuple[str, ...]] = ()
    in_trials: ClassVar[bool] = False

    def __init__(self, space: SearchSpace, seed: int, rounds: int) -> None:
        super().__init__(space, seed, rounds)
        user = f"the strategy {self.name!r}"
        self._optuna: Any = optional("optuna", user)
        for module in self.needs:
            optional(module, user)
        distributions = self._optuna.distributions
        self._distributions = {
            name: _distribution(variable, distributions)
            for name, variable in space.variables.items()
        }
        self._seen: dict[int, _Seen] = {}
        self._proposed: dict[int, tuple[float, ...]] = {}
        self._study: Any = None
        self._told: list[_Seen] = []
        self._open: tuple[int, Any] | None = None

    @property
    @abstractmethod
    def name(self) -> str:
        """Its registered name."""

    @abstractmethod
    def sampler(self, seed: int) -> Any:
        """A new sampler of Optuna with a seed."""

    def propose(self, number: int) -> dict[str, Value]:
        """What the sampler proposes, given the rounds before `number`."""
        if number not in self._proposed:
            with blas.one_thread():
                self._proposed[number] = self._ask(number)
        return self.space.decode(self._code(self._proposed[number]))

    def observe(self, number: int, values: Mapping[str, Value], score: float | None) -> None:
        """Store the round; a score that is not finite counts as a failure."""
        known = None if score is None or not math.isfinite(score) else float(score)
        parameters = self._parameters(self.space.encode(values))
        self._seen[number] = _Seen(number, parameters, known)

    def _ask(self, number: int) -> tuple[float, ...]:
        seen = [self._seen[n] for n in sorted(self._seen) if n < number]
        pending = [n for n in sorted(self._proposed) if n < number and n not in self._seen]
        if not self._continued_by(seen):
            self._study, self._told, self._open = self._new_study(), [], None
        for one in seen[len(self._told) :]:
            self._tell(one)
        for running in pending:
            self._add(self._proposed[running], self._optuna.trial.TrialState.RUNNING)
        trial = self._asked(number)
        if pending:
            self._study = None
        return tuple(trial.params[name] for name in self._distributions)

    def _continued_by(self, seen: list[_Seen]) -> bool:
        """Whether the present study becomes the one of `seen` if rounds are added to it."""
        if self._study is None or seen[: len(self._told)] != self._told:
            return False
        if self._open is None:
            return True
        rest = seen[len(self._told) :]
        return bool(rest) and rest[0].number == self._open[0] and self._as_proposed(rest[0])

    def _as_proposed(self, one: _Seen) -> bool:
        return self._proposed.get(one.number) == one.parameters

    def _tell(self, one: _Seen) -> None:
        states = self._optuna.trial.TrialState
        state = states.FAIL if one.score is None else states.COMPLETE
        trial = None
        if self._open is not None:
            trial, self._open = self._open[1], None
        elif self.in_trials:
            trial = self._asked(one.number)
            self._open = None
        parameters = trial and tuple(trial.params[name] for name in self._distributions)
        if trial is not None and parameters == one.parameters:
            self._study.tell(trial, one.score, state=state)
        else:
            attributes = {}
            if trial is not None:  # the state that belongs to other values
                self._study.tell(trial, state=states.FAIL)
                attributes = self._study.trials[trial.number].system_attrs
            self._add(one.parameters, state, one.score, attributes)
        self._told.append(one)

    def _add(
        self,
        parameters: tuple[float, ...],
        state: Any,
        score: float | None = None,
        attributes: Mapping[str, Any] | None = None,
    ) -> None:
        self._study.add_trial(
            self._optuna.trial.create_trial(
                params=dict(zip(self._distributions, parameters, strict=True)),
                distributions=self._distributions,
                state=state,
                value=score,
                system_attrs=dict(attributes or {}),
            )
        )

    def _asked(self, number: int) -> Any:
        self._study.sampler = self.sampler(int(self.generator(number).integers(_SEEDS)))
        trial = self._study.ask(self._distributions)
        self._open = (number, trial)
        return trial

    def _new_study(self) -> Any:
        with _quiet(self._optuna):
            return self._optuna.create_study(direction="maximize", sampler=self.sampler(0))

    def _parameters(self, code: Codes) -> tuple[float, ...]:
        return tuple(
            float(number) if isinstance(variable, Float) else round(float(number))
            for number, variable in zip(code, self.space.variables.values(), strict=True)
        )

    def _code(self, parameters: tuple[float, ...]) -> list[float]:
        return [float(parameter) for parameter in parameters]


class Tpe(OptunaStrategy):
    """Tree-structured Parzen estimator over all variables jointly, by Optuna.

    Args:
        space: what is searched.
        seed: with the round, that of the sampler.
        rounds: number of rounds; not used.
        startup: rounds of uniform draws before.
    """

    name = "tpe"

    def __init__(self, space: SearchSpace, seed: int, rounds: int, startup: int = STARTUP) -> None:
        super().__init__(space, seed, rounds)
        self.startup = startup

    def sampler(self, seed: int) -> Any:
        """Optuna's TPESampler, multivariate."""
        return self._optuna.samplers.TPESampler(
            seed=seed, multivariate=True, n_startup_trials=self.startup
        )


class GP(Tpe):
    """Gaussian process, highest log expected improvement, by Optuna.

    Args:
        space: what is searched.
        seed: with the round, that of the sampler.
        rounds: number of rounds; not used.
        startup: rounds of uniform draws before.
    """

    name = "gp"
    needs = ("torch",)

    def sampler(self, seed: int) -> Any:
        """Optuna's GPSampler."""
        return self._optuna.samplers.GPSampler(
            seed=seed, n_startup_trials=self.startup, warn_independent_sampling=False
        )


class CmaEs(OptunaStrategy):
    """Covariance matrix adaptation evolution strategy, by Optuna."""

    name = "cma-es"
    needs = ("cmaes",)
    in_trials = True

    def sampler(self, seed: int) -> Any:
        """Optuna's CmaEsSampler."""
        return self._optuna.samplers.CmaEsSampler(seed=seed, warn_independent_sampling=False)


def _distribution(variable: Variable, distributions: Any) -> Any:
    if isinstance(variable, Float):
        return distributions.FloatDistribution(*variable.attained_bounds(), log=variable.log)
    if isinstance(variable, Int):
        return distributions.IntDistribution(variable.low, variable.high, log=variable.log)
    last = len(variable.levels) - 1
    if variable.ordered:
        return distributions.IntDistribution(0, last)
    return distributions.CategoricalDistribution(range(last + 1))


@contextmanager
def _quiet(optuna: Any) -> Iterator[None]:
    """Optuna reports every new study."""
    before = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    try:
        yield
    finally:
        optuna.logging.set_verbosity(before)
