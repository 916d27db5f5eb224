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

from collections.abc import Callable, Sequence
from functools import partial
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from joulelab.serving.tokens.batch_means import Ratio, batch_means
from joulelab.serving.tokens.costs import Cost, DomainCosts, TokenEnergy, sum_known, weakest
from joulelab.serving.tokens.flow import Flow, SteadyWindow, steady_window
from joulelab.serving.tokens.split import TokenSplit, token_split

Floats = NDArray[np.float64]
KINDS = {"gpu": "GPU", "cpu": "processor", "dram": "memory", "psys": "platform", "wall": "wall"}
"""Families of domains that have a row of their own, by their name for people."""
TOTAL = "total"


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
    idle_w = sum_known([one.idle_w for one in curves])
    net: Callable[[Floats, Floats], Floats] | None = None
    if idle_w is not None:
        net = partial(_net_j, gross, idle_w)
    bound_j = sum_known([_bound_j(one, window, offset_s) for one in curves])
    idle_error_w = sum_known([one.idle_error_w for one in curves])
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
        weakest([str(one.status) for one in curves]),
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
