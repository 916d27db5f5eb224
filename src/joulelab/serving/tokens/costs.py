"""What the tokens of a load took, and the units in which people compare it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from joulelab.serving.tokens.batch_means import Ratio
from joulelab.serving.tokens.flow import SteadyWindow
from joulelab.serving.tokens.split import TokenSplit

JOULES_IN_KWH = 3.6e6


@dataclass(frozen=True)
class Cost:
    """Joules for one of a unit.

    Attributes:
        gross: with idle power.
        net: without it; ``None`` where idle power is unknown.
        bound_j: how far the meter may be off; ``None`` where unknown.
        net_bound_j: the same of net energy.
    """

    gross: Ratio
    net: Ratio | None = None
    bound_j: float | None = None
    net_bound_j: float | None = None


@dataclass(frozen=True)
class DomainCosts:
    """What some domains took in the window, in all and for each unit.

    Attributes:
        name: ``"total"``, ``"GPU"``, ``"processor"``, ``"memory"`` ...
        domains: the domains added up.
        status: of the energy.
        gross_j: joules in the window.
        net_j: less idle energy; ``None`` where idle power is unknown.
        per: by unit; nothing where tokens are unknown.
    """

    name: str
    domains: tuple[str, ...]
    status: str
    gross_j: float
    net_j: float | None
    per: Mapping[str, Cost] = field(default_factory=dict)


@dataclass(frozen=True)
class TokenEnergy:
    """The energy of a load on a language model.

    Attributes:
        window: the part of the load that all of this is of.
        output_tokens: worked on in the window; ``None`` where unknown.
        prompt_tokens: likewise.
        requests: likewise, open ones in part.
        costs: the sum first, then its kinds of domains; empty where no energy is known.
        split: of the sum.
        reason: why something is unknown; empty where all is known.
    """

    window: SteadyWindow
    output_tokens: float | None
    prompt_tokens: float | None
    requests: float
    costs: tuple[DomainCosts, ...]
    split: TokenSplit
    reason: str = ""

    @property
    def total(self) -> DomainCosts | None:
        """The sum over the domains that count; ``None`` where it is unknown."""
        return self.costs[0] if self.costs else None

    @property
    def per_output_token(self) -> Cost | None:
        """Joules per output token; ``None`` where unknown."""
        return self.total.per.get("output token") if self.total else None

    def compared(self, g_per_kwh: float | None = None) -> dict[str, float | None]:
        """The gross figures in the units that people compare; ``None`` where unknown.

        Args:
            g_per_kwh: grams of CO2e for a kWh, with PUE; ``None`` where the place is unknown.
        """
        per = self.total.per if self.total else {}
        token = per["output token"].gross.value if "output token" in per else None
        request = per["request"].gross.value if "request" in per else None
        return compared(token, request, g_per_kwh)

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


def compared(
    output_token_j: float | None, request_j: float | None, g_per_kwh: float | None = None
) -> dict[str, float | None]:
    """Energies in the units that people compare; ``None`` where unknown.

    >>> compared(0.36, 72.0, 100.0)["g_co2e_per_million_output_tokens"]
    10.0

    Args:
        output_token_j: joules per output token.
        request_j: joules per request.
        g_per_kwh: grams of CO2e for a kWh, with PUE.
    """
    token_kwh = None if output_token_j is None else output_token_j / JOULES_IN_KWH
    return {
        "j_per_output_token": output_token_j,
        "wh_per_1000_requests": None if request_j is None else request_j / 3.6,
        "output_tokens_per_kwh": 1 / token_kwh if token_kwh else None,
        "g_co2e_per_million_output_tokens": None
        if token_kwh is None or g_per_kwh is None
        else 1e6 * token_kwh * g_per_kwh,
    }


def weakest(statuses: Sequence[str]) -> str:
    """The status of a sum, as `joulelab.energy.reading.Status.of_sum`."""
    order = ("measured", "partly estimated", "estimated", "replayed", "missing")
    return max(statuses, key=order.index)


def sum_known(values: Sequence[float | None]) -> float | None:
    """The sum, or ``None`` where one of the values is unknown, or there are none."""
    known = [value for value in values if value is not None]
    return sum(known) if known and len(known) == len(values) else None
