"""Optimisers: the hyperparameters of each, and torch's class for it.

With gradient g of a parameter p, learning rate a and weight decay w:

=======  =============================================  =====================================
         step                                           hyperparameters
=======  =============================================  =====================================
adam     g += w p;  moments m, v of g;                  learning_rate, beta1, beta2, epsilon,
         p -= a m' / (sqrt(v') + epsilon)               weight_decay
adamw    p -= a w p, then as adam with w = 0            the same; weight_decay 0.01 by default
sgd      g += w p;  b = momentum b + g;                 learning_rate, momentum, nesterov,
         p -= a b, or a (g + momentum b) if nesterov    weight_decay
=======  =============================================  =====================================

m' and v' are corrected for their start at 0 (Kingma and Ba, ICLR 2015; Loshchilov and Hutter,
ICLR 2019; Sutskever et al., ICML 2013). All follow ``torch.optim``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from joulelab.learning.engine import Hyperparameters

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Optimiser:
    """An optimiser of torch.

    Attributes:
        name: as a study names it.
        torch_name: of its class in ``torch.optim``.
        hyperparameters: names of those that it has.
        moments: tensors that it keeps for each parameter.
        counts_steps: whether its step depends on the number of steps so far.
        defaults: values that differ from those of `Hyperparameters`.
    """

    name: str
    torch_name: str
    hyperparameters: tuple[str, ...]
    moments: int
    counts_steps: bool
    defaults: Mapping[str, Any] = field(default_factory=dict)

    def values(self, given: Mapping[str, Any]) -> Hyperparameters:
        """Given values and defaults; hyperparameters that it does not have are left out."""
        own = {name: value for name, value in given.items() if name in self.hyperparameters}
        return Hyperparameters(**{**self.defaults, **own})

    def arguments(self, values: Hyperparameters) -> dict[str, Any]:
        """Keyword arguments of torch's class."""
        common = {"lr": values.learning_rate, "weight_decay": values.weight_decay}
        if "momentum" in self.hyperparameters:
            return {**common, "momentum": values.momentum, "nesterov": values.nesterov}
        return {**common, "betas": (values.beta1, values.beta2), "eps": values.epsilon}

    def torch_class(self) -> Callable[..., torch.optim.Optimizer]:
        """The class in ``torch.optim``."""
        import torch

        found: Callable[..., torch.optim.Optimizer] = getattr(torch.optim, self.torch_name)
        return found


_ADAM = ("learning_rate", "beta1", "beta2", "epsilon", "weight_decay")
_SGD = ("learning_rate", "momentum", "nesterov", "weight_decay")

OPTIMISERS = {
    one.name: one
    for one in (
        Optimiser("adam", "Adam", _ADAM, 2, True),
        Optimiser("adamw", "AdamW", _ADAM, 2, True, {"weight_decay": 0.01}),
        Optimiser("sgd", "SGD", _SGD, 1, False),
    )
}
"""By name."""
