"""The green strategy as a sampler of Optuna.

It models the parameters that all completed trials have in common (the intersection search space),
as Optuna's own samplers do. Other parameters, and the first trial, are uniform draws.

The cost of a trial is ``trial.user_attrs["energy_j"]``, which `EnergyCallback` stores, else its
duration times the mean power of the trials of known energy, else its duration. Only completed
trials have a cost: a pruned or a failed one says nothing about a whole training. The score of a
pruned trial is its last reported value.
"""
# ruff: noqa: ANN401 - Optuna is optional: its types are not known here

from __future__ import annotations

import math
import threading
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeGuard

import numpy as np

from joulelab.errors import UsageError
from joulelab.optional import optional
from joulelab.tuning.green import Green
from joulelab.tuning.space import Choice, Float, Int, SearchSpace, Value, Variable

optuna: Any = optional("optuna", "joulelab.tuning.optuna")

ENERGY = "energy_j"
"""The user attribute with the joules of a trial."""

Cost = Callable[[Mapping[str, Any]], float]


class GreenSampler(optuna.samplers.BaseSampler):  # type: ignore[misc]
    """Highest expected improvement per predicted cost; see `joulelab.tuning.green`.

    Proposals depend on the seed, the number of a trial and the finished trials before it. A study
    that is resumed continues as without the interruption. It has a single objective.

    Args:
        seed: 0 or more.
        cost: what is known beforehand, from the parameters in common to a relative cost above 0.
    """

    def __init__(self, seed: int = 0, cost: Cost | None = None) -> None:
        self.seed = seed
        self.cost = cost
        self._guard = threading.Lock()
        self._present: _Present | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Everything that determines proposals: the rest is computed from the study."""
        return {"seed": self.seed, "cost": self.cost}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]

    def infer_relative_search_space(self, study: Any, trial: Any) -> dict[str, Any]:
        """The parameters in common, without constants and those that cannot be modelled.

        Raises:
            UsageError: the study has several objectives.
        """
        if len(study.directions) > 1:
            raise UsageError(
                f"GreenSampler has one objective, and the study {len(study.directions)}",
                "use optuna.samplers.TPESampler or NSGAIISampler, or add the objectives up",
            )
        trials = study.get_trials(deepcopy=False)
        common = optuna.search_space.intersection_search_space(trials)
        return {name: one for name, one in common.items() if _modelled(name, one)}

    def sample_relative(
        self, study: Any, trial: Any, search_space: Mapping[str, Any]
    ) -> dict[str, Any]:
        """The proposal of the green strategy."""
        if not search_space:
            return {}
        minimise = study.direction == optuna.study.StudyDirection.MINIMIZE
        earlier = [t for t in study.get_trials(deepcopy=False) if t.number < trial.number]
        earlier = [t for t in earlier if _has(t, search_space)]
        finished = tuple(_seen([t for t in earlier if t.state.is_finished()], minimise))
        with self._guard:
            present = self._present
            if present is None or not present.continued_by(
                study.study_name, search_space, finished
            ):
                present = self._present = self._new(study.study_name, search_space)
            for one in finished[len(present.told) :]:
                present.tell(one)
            for running in (t for t in earlier if not t.state.is_finished()):
                present.green.running(running.number, _values(running, search_space))
            values = present.green.propose(trial.number)
        return {name: _parameter(one, values[name]) for name, one in search_space.items()}

    def sample_independent(
        self, study: Any, trial: Any, param_name: str, param_distribution: Any
    ) -> Any:
        """A uniform draw by Optuna, which the seed, the trial and the name determine."""
        seeds = np.random.SeedSequence((self.seed, trial.number, zlib.crc32(param_name.encode())))
        sampler = optuna.samplers.RandomSampler(seed=int(seeds.generate_state(1)[0]))
        return sampler.sample_independent(study, trial, param_name, param_distribution)

    def _new(self, study_name: str, search_space: Mapping[str, Any]) -> _Present:
        cost = None
        if self.cost is not None:
            known = self.cost

            def cost(values: Mapping[str, Value]) -> float:
                return known({n: _parameter(d, values[n]) for n, d in search_space.items()})

        space = SearchSpace({name: _variable(one) for name, one in search_space.items()})
        green = Green(space, seed=self.seed, rounds=0, cost=cost)
        return _Present(study_name, dict(search_space), green, ())


@dataclass(frozen=True)
class _Seen:
    """What a finished trial tells."""

    number: int
    parameters: Mapping[str, Any]
    score: float | None
    cost: float | None


@dataclass
class _Present:
    """The strategy of a study as it stands: its fitted lengths are used again."""

    study_name: str
    search_space: Mapping[str, Any]
    green: Green
    told: tuple[_Seen, ...]

    def continued_by(
        self, study_name: str, search_space: Mapping[str, Any], finished: Sequence[_Seen]
    ) -> bool:
        """Whether it becomes the strategy of the finished trials if some are told to it."""
        return (
            self.study_name == study_name
            and self.search_space == search_space
            and self.told == finished[: len(self.told)]
        )

    def tell(self, one: _Seen) -> None:
        """Tell the strategy of a trial."""
        values = {n: _value(d, one.parameters[n]) for n, d in self.search_space.items()}
        if one.cost is not None:
            self.green.paid(one.number, one.cost)
        self.green.observe(one.number, values, one.score)
        self.told = (*self.told, one)


def _seen(trials: Sequence[Any], minimise: bool) -> list[_Seen]:
    """What finished trials tell, in the order of their numbers."""
    complete = optuna.trial.TrialState.COMPLETE
    pairs = [(t.user_attrs.get(ENERGY), _duration_s(t)) for t in trials if t.state == complete]
    known = [(e, s) for e, s in pairs if _positive(e) and _positive(s)]
    power_w = sum(e for e, _ in known) / sum(s for _, s in known) if known else 1.0
    found = []
    for trial in sorted(trials, key=lambda one: one.number):
        cost = None
        if trial.state == complete:
            energy_j, duration_s = trial.user_attrs.get(ENERGY), _duration_s(trial)
            cost = energy_j if _positive(energy_j) else duration_s and duration_s * power_w
        score = _score(trial)
        found.append(
            _Seen(
                trial.number,
                trial.params,
                None if score is None else -score if minimise else score,
                cost if _positive(cost) else None,
            )
        )
    return found


def _score(trial: Any) -> float | None:
    if trial.state == optuna.trial.TrialState.COMPLETE:
        return float(trial.value)
    if trial.state == optuna.trial.TrialState.PRUNED and trial.intermediate_values:
        return float(trial.intermediate_values[max(trial.intermediate_values)])
    return None


def _duration_s(trial: Any) -> float | None:
    return None if trial.duration is None else trial.duration.total_seconds()


def _positive(value: Any) -> TypeGuard[float]:
    return isinstance(value, int | float) and math.isfinite(value) and value > 0


def _has(trial: Any, search_space: Mapping[str, Any]) -> bool:
    return all(trial.distributions.get(name) == one for name, one in search_space.items())


def _values(trial: Any, search_space: Mapping[str, Any]) -> dict[str, Value]:
    return {name: _value(one, trial.params[name]) for name, one in search_space.items()}


def _modelled(name: str, distribution: Any) -> bool:
    if distribution.single():
        return False
    try:
        _variable(distribution).check(name)
    except UsageError:  # bounds beyond the range of float64
        return False
    return True


def _categorical(distribution: Any) -> bool:
    return isinstance(distribution, optuna.distributions.CategoricalDistribution)


def _steps(distribution: Any) -> Any:
    """The step of a number that is a whole number of steps above its lowest; else None."""
    step = distribution.step
    return None if step == 1 and isinstance(distribution.low, int) else step


def _variable(distribution: Any) -> Variable:
    """The variable of a parameter: categories and steps by their index."""
    if _categorical(distribution):
        return Choice(tuple(range(len(distribution.choices))))
    low, high = distribution.low, distribution.high
    if step := _steps(distribution):
        return Int(0, round((high - low) / step))
    whole = isinstance(distribution, optuna.distributions.IntDistribution)
    return (Int if whole else Float)(low, high, log=distribution.log)


def _value(distribution: Any, parameter: Any) -> Value:
    if _categorical(distribution):
        return int(distribution.to_internal_repr(parameter))
    if step := _steps(distribution):
        index: int = round((parameter - distribution.low) / step)
        return index
    value: Value = parameter
    return value


def _parameter(distribution: Any, value: Value) -> Any:
    if _categorical(distribution):
        return distribution.choices[int(value)]
    if step := _steps(distribution):
        return min(distribution.low + int(value) * step, distribution.high)
    return value
