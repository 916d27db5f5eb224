"""The keys of experiments on strategies x networks x numbers of hyperparameters."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Annotated, Any

from pydantic import BaseModel, Field, field_validator

from joulelab.errors import quoted
from joulelab.learning.networks import networks as known_networks
from joulelab.study.design import Factor, Level
from joulelab.study.spec import Count
from joulelab.study.validation import known, unique
from joulelab.tuning.space import SearchSpace

Names = Annotated[list[str], Field(min_length=1)]


class GridKeys(BaseModel):
    """Keys of a grid of strategies, networks and numbers of hyperparameters.

    Attributes:
        strategies: registered names; levels of the factor ``strategy``.
        networks: registered names; levels of the factor ``network``.
        hyperparameters: numbers of searched variables, in the order of the file; levels of the
            factor of the same name. Default: all.
        network_options: for a network's name, its keyword arguments.
    """

    strategies: Names
    networks: Names
    hyperparameters: Annotated[list[Count], Field(min_length=1)] | None = None
    network_options: dict[str, dict[str, Any]] = Field(default_factory=dict)

    @field_validator("networks")
    @classmethod
    def _known_networks(cls, names: list[str]) -> list[str]:
        return [known(known_networks, name) for name in unique(names)]

    def check_grid(self, space: Collection[str]) -> None:
        """Check what a single key cannot tell.

        Raises:
            ValueError: more hyperparameters than the space has; options of another network.
        """
        if self.hyperparameters and max(unique(self.hyperparameters)) > len(space):
            raise ValueError(
                f"hyperparameters requests {max(self.hyperparameters)} variables, but the space "
                f"has {len(space)}"
            )
        for name in self.network_options:
            if name not in self.networks:
                raise ValueError(f"network_options names {quoted(name)}, which is not in networks")

    def grid(self, space: Collection[str]) -> Sequence[Factor]:
        """Strategy, network and number of hyperparameters."""
        return (
            Factor("strategy", tuple(self.strategies)),
            Factor("network", tuple(self.networks)),
            Factor("hyperparameters", tuple(self.hyperparameters or [len(space)])),
        )

    def place(
        self, levels: Mapping[str, Level], space: Mapping[str, Mapping[str, Any]]
    ) -> dict[str, Any]:
        """Fields of a configuration: network, its options, strategy and space."""
        network = str(levels["network"])
        return {
            "network": network,
            "network_options": self.network_options.get(network, {}),
            "strategy": str(levels["strategy"]),
            "space": SearchSpace.from_dict(space).first(int(levels["hyperparameters"])),
        }
