"""Settings of a training that an experiment may vary: names of factors beside network arguments.

::

    [experiment.mine.vary]
    conv_layers = [1, 2]              an argument of the network
    optimiser = ["adam", "sgd"]       a key of the study, or `threads`: each configuration its own
    learning_rate = [0.001, 0.01]     a hyperparameter: as if it was in `fixed`

Names of settings and hyperparameters are reserved: they never are arguments of the network.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from joulelab.errors import SpecError, quoted
from joulelab.learning.engine import HYPERPARAMETERS, NESTEROV
from joulelab.learning.optimisers import OPTIMISERS

if TYPE_CHECKING:
    from joulelab.study.design import Level

DATASET, OPTIMISER = "dataset", "optimiser"
SETTINGS = (
    "protocol",
    "engine",
    "precision",
    "epochs",
    "batch_size",
    OPTIMISER,
    "schedule",
    "augmentation",
    "threads",
)
RESERVED = frozenset({DATASET, *SETTINGS, *HYPERPARAMETERS})
"""Factors that are not arguments of the network."""


@dataclass(frozen=True)
class Settings:
    """How the trainings of one configuration are done: keys of the study, or levels.

    Attributes are those of `joulelab.kinds.training.spec.TrainingKeys`, and `threads`.
    """

    protocol: str
    engine: str
    precision: str
    epochs: int
    batch_size: int
    optimiser: str
    schedule: str
    augmentation: str
    threads: int | Literal["auto"]

    @classmethod
    def of(cls, study: object, levels: Mapping[str, Level]) -> Settings:
        """The levels where there are some, else the keys of the study.

        Args:
            study: with `TrainingKeys`.
            levels: of a configuration.
        """
        return cls(**{name: levels.get(name, getattr(study, name)) for name in SETTINGS})


def check_optimisers(
    optimisers: Sequence[str],
    values: Mapping[str, Mapping[str, Sequence[Any]]],
) -> None:
    """Check that optimisers have the hyperparameters that an experiment gives them.

    Args:
        optimisers: of the experiment, all its levels.
        values: possible values of each hyperparameter, by key of the experiment: ``fixed``,
            ``space``, ``vary``; a later one counts more.

    Raises:
        SpecError: none has it; one does not have it, and it is varied; or Nesterov's momentum is
            requested without momentum.
    """
    for key, given in values.items():
        for name in given:
            without = [one for one in optimisers if name not in OPTIMISERS[one].hyperparameters]
            if len(without) == len(optimisers) or (without and key == "vary"):
                own = ", ".join(OPTIMISERS[without[0]].hyperparameters)
                raise SpecError(
                    f"the optimiser {without[0]} has no {quoted(name)}; its hyperparameters: {own}",
                    f"remove {name}, or choose an optimiser that has it",
                    (key, name),
                )
    together = {name: (key, all_of) for key, own in values.items() for name, all_of in own.items()}
    key, nesterov = together.get(NESTEROV, ("", ()))
    _, momenta = together.get("momentum", ("", (0.0,)))
    if any(nesterov) and not all(momenta):
        raise SpecError(
            "nesterov = true needs a momentum above 0", "set momentum, such as 0.9", (key, NESTEROV)
        )


def span(values: Iterable[Any]) -> str:
    """Values that configurations have: ``3``, ``1 to 3``, ``adam and sgd``.

    >>> span([3, 1, 3]), span(["adam"]), span(["adam", "sgd"])
    ('1 to 3', 'adam', 'adam and sgd')
    """
    found = list(dict.fromkeys(values))
    if len(found) > 1 and all(isinstance(one, int) for one in found):
        return f"{min(found):,} to {max(found):,}"
    return " and ".join(f"{one:,}" if isinstance(one, int) else str(one) for one in found)
