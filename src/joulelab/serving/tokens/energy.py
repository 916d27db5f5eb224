"""Joules per token of a load: per output token, per token in all, per request; gross and net.

All figures are of one window (`joulelab.serving.tokens.flow`): the energy spent in it, by what was
worked on in it::

    R = E / N       E gross, or net: less idle power times the length of the window
                    N output tokens, tokens in all, or requests

Two things are uncertain, and kept apart. The *interval* (95 %, `batch_means`) is about chance: what
the same load would give again. The *bound* is about the meter: how far its energy may be off, all
the time and in the same direction. It is that of the whole load, in proportion, and one tick of the
sensor at the mean power for the edges of the window.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from joulelab.serving.tokens.batch_means import Ratio, batch_means, ratio_of
from joulelab.serving.tokens.flow import Flow, SteadyWindow, steady_window
from joulelab.serving.tokens.split import TokenSplit, token_split

Floats = NDArray[np.float64]
KINDS = {"gpu": "GPU", "cpu": "processor", "dram": "memory", "psys": "platform", "wall": "wall"}
"""Families of domains that have a row of their own, by their name for people."""
TOTAL = "total"
JOULES_IN_KWH = 3.6e6


class Curve(Protocol):
    """The course of a domain's energy, as `joulelab.energy.phases.EnergyCurve`."""

    @property
    def domain(self) -> str:
        """The domain."""

    @property
    def times_s(self) -> Floats:
        """(k,) times, of any clock."""

    @property
    def joules(self) -> Floats:
        """(k,) gross energy since the first."""

    @property
    def status(self) -> str:
        """How it was obtained."""

    @property
    def tick_s(self) -> float:
        """The tick of its sensor."""

    @property
    def error_j(self) -> float | None:
        """Bound of the error of the whole."""

    @property
    def idle_w(self) -> float | None:
        """Power at idle."""

    @property
    def idle_error_w(self) -> float | None:
        """Bound of its error."""

    @property
    def counts(self) -> bool:
        """Whether it is in the sum."""


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
        repetitions: number of loads; more than 1 where intervals are over repetitions.
    """

    window: SteadyWindow
    output_tokens: float | None
    prompt_tokens: float | None
    requests: float
    costs: tuple[DomainCosts, ...]
    split: TokenSplit
    reason: str = ""
    repetitions: int = 1

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


def token_energy(
    flow: Flow, curves: Sequence[Curve], offset_s: float, *, whole: bool = True
) -> TokenEnergy:
    """What the tokens of a load took.

    Args:
        flow: the answered requests.
        curves: of the domains whose energy is known.
        offset_s: the first due time on the clock of the curves.
        whole: whether the sum over the domains that count is known: without, there is none.
    """
    groups = _groups(curves) if whole else {}
    counted = [one for some in groups.values() for one in some]
    tick_s = max((one.tick_s for one in counted), default=0.0)
    window = steady_window(flow, tick_s)
    reasons = dict.fromkeys(filter(None, (flow.output_unknown, flow.prompt_unknown)))
    reason = "; ".join(reasons)
    amounts = {
        unit: float(np.diff(until(np.array([window.start_s, window.end_s])))[0])
        for unit, until in _amounts(flow).items()
    }
    output = amounts.get("output token")
    costs = tuple(_costs(name, some, flow, window, offset_s) for name, some in groups.items())
    split = TokenSplit(reason=reason or "the energy is unknown")
    if costs and not reason:
        between = partial(_gross_j, groups[TOTAL], offset_s)
        split = token_split(flow, window, between, tick_s)
    return TokenEnergy(
        window,
        output,
        amounts["token"] - output if "token" in amounts and output is not None else None,
        amounts["request"],
        costs,
        split,
        "; ".join(filter(None, (reason, "" if costs else "the energy is unknown"))),
    )


def repeated(loads: Sequence[TokenEnergy]) -> TokenEnergy:
    """Several loads of the same kind as one: intervals are over repetitions.

    Args:
        loads: at least one; each a repetition.
    """
    first = loads[0]
    if len(loads) == 1:
        return first
    totals = [{one.name: one for one in load.costs} for load in loads]
    shared = [name for name in totals[0] if all(name in one for one in totals)]
    units: dict[str, list[float | None]] = {
        "output token": [one.output_tokens for one in loads],
        "token": [_plus(one.output_tokens, one.prompt_tokens) for one in loads],
        "request": [one.requests for one in loads],
    }
    costs = tuple(_together([one[name] for one in totals], units) for name in shared)
    return replace(
        first,
        output_tokens=_sum(units["output token"]),
        prompt_tokens=_sum([one.prompt_tokens for one in loads]),
        requests=sum(one.requests for one in loads),
        costs=costs,
        split=_mean_split([one.split for one in loads]),
        reason="; ".join(dict.fromkeys(one.reason for one in loads if one.reason)),
        repetitions=len(loads),
    )


def _groups(curves: Sequence[Curve]) -> dict[str, list[Curve]]:
    """The sum, and each kind of device that is known beside or within it."""
    total = [one for one in curves if one.counts]
    if not total:
        return {}
    groups = {TOTAL: total}
    for family, name in KINDS.items():
        some = [one for one in curves if one.domain.rpartition("/")[2].partition(":")[0] == family]
        if some and some != total:
            groups[name] = some
    return groups


def _gross_j(curves: Sequence[Curve], offset_s: float, begins_s: Floats, ends_s: Floats) -> Floats:
    """(k,) joules of some domains between times from the first due time."""
    spent_j = np.zeros(len(begins_s))
    for one in curves:
        spent_j += np.interp(ends_s + offset_s, one.times_s, one.joules)
        spent_j -= np.interp(begins_s + offset_s, one.times_s, one.joules)
    return spent_j


def _costs(
    name: str,
    curves: Sequence[Curve],
    flow: Flow,
    window: SteadyWindow,
    offset_s: float,
) -> DomainCosts:
    span_s = (window.start_s, window.end_s)
    gross = partial(_gross_j, curves, offset_s)
    gross_j = float(gross(*(np.array([edge_s]) for edge_s in span_s))[0])
    idle_w = _sum([one.idle_w for one in curves])
    net: Callable[[Floats, Floats], Floats] | None = None
    if idle_w is not None:
        net = partial(_net_j, gross, idle_w)
    bound_j = _sum([_bound_j(one, window, offset_s) for one in curves])
    idle_error_w = _sum([one.idle_error_w for one in curves])
    net_bound_j = None
    if bound_j is not None and idle_error_w is not None and net is not None:
        net_bound_j = bound_j + idle_error_w * window.duration_s
    tick_s = max(one.tick_s for one in curves)
    per = {}
    for unit, until in _amounts(flow).items():
        found = batch_means(gross, until, span_s, tick_s)
        if found is None:
            continue
        number = gross_j / found.value if found.value else 0.0
        per[unit] = Cost(
            _of(window, found),
            None if net is None else _of(window, batch_means(net, until, span_s, tick_s)),
            bound_j / number if bound_j is not None and number else None,
            net_bound_j / number if net_bound_j is not None and number else None,
        )
    return DomainCosts(
        name,
        tuple(one.domain for one in curves),
        _weakest([str(one.status) for one in curves]),
        gross_j,
        None if idle_w is None else gross_j - idle_w * window.duration_s,
        per,
    )


def _of(window: SteadyWindow, found: Ratio | None) -> Ratio:
    """A ratio without an interval where the window is not steady."""
    assert found is not None
    if window.steady:
        return found
    return Ratio(found.value, reason=f"no steady window: {window.reason}")


def _amounts(flow: Flow) -> dict[str, Callable[[Floats], Floats]]:
    """What can be counted: from times to the number until then, by unit."""
    counted: dict[str, Callable[[Floats], Floats]] = {}
    if not flow.output_unknown:
        counted["output token"] = flow.output_until
        if not flow.prompt_unknown:
            counted["token"] = lambda at_s: flow.output_until(at_s) + flow.prompt_until(at_s)
    return {**counted, "request": flow.requests_until}


def _net_j(
    gross: Callable[[Floats, Floats], Floats], idle_w: float, begins_s: Floats, ends_s: Floats
) -> Floats:
    return gross(begins_s, ends_s) - idle_w * (ends_s - begins_s)


def _bound_j(curve: Curve, window: SteadyWindow, offset_s: float) -> float | None:
    if curve.error_j is None:
        return None
    edges = np.array([window.start_s]), np.array([window.end_s])
    spent_j, whole_j = float(_gross_j([curve], offset_s, *edges)[0]), float(curve.joules[-1])
    share = spent_j / whole_j if whole_j else 1.0
    at_edges_j = curve.tick_s * spent_j / window.duration_s if window.steady else 0.0
    return curve.error_j * share + at_edges_j


def _weakest(statuses: Sequence[str]) -> str:
    """The status of a sum, as `joulelab.energy.reading.Status.of_sum`."""
    order = ("measured", "partly estimated", "estimated", "replayed", "missing")
    return max(statuses, key=order.index)


def _together(
    parts: Sequence[DomainCosts], units: Mapping[str, Sequence[float | None]]
) -> DomainCosts:
    """The same domains over repetitions."""
    gross = np.array([one.gross_j for one in parts])
    net = [one.net_j for one in parts]
    per = {}
    for unit in parts[0].per:
        counts = units[unit]
        if any(count is None for count in counts) or not all(unit in one.per for one in parts):
            continue
        numbers = np.array(counts, float)
        bounds, net_bounds = (
            [getattr(one.per[unit], name) for one in parts] for name in ("bound_j", "net_bound_j")
        )
        known = [value for value in net if value is not None]
        per[unit] = Cost(
            ratio_of(gross, numbers),
            ratio_of(np.array(known), numbers) if len(known) == len(net) else None,
            None if None in bounds else max(bounds),
            None if None in net_bounds else max(net_bounds),
        )
    return DomainCosts(
        parts[0].name,
        parts[0].domains,
        _weakest([one.status for one in parts]),
        float(gross.sum()),
        _sum(net),
        per,
    )


def _mean_split(splits: Sequence[TokenSplit]) -> TokenSplit:
    """The mean of the costs over repetitions."""
    for one in splits:
        if one.prompt is None or one.output is None:
            return one
    ones = np.ones(len(splits))
    prompt, output = (
        ratio_of(np.array([getattr(one, name).value for one in splits]), ones)
        for name in ("prompt", "output")
    )
    base_w = _sum([one.base_w for one in splits])
    return TokenSplit(
        prompt, output, None if base_w is None else base_w / len(splits), splits[0].parts
    )


def _plus(one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else one + other


def _sum(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if known and len(known) == len(values) else None
