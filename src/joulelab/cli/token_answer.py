"""Joules per token as people read them: the answer, the units that are compared, a row per device.

::

    0.41 J per output token (0.38 to 0.44), measured, meter ± 0.02 J; 55 W idle left out: 0.33 J
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from joulelab import formats
from joulelab.energy.measurement import Measurement
from joulelab.energy.phases import energy_curves
from joulelab.energy.reading import Status
from joulelab.energy.sample_buffer import ChannelSamples
from joulelab.present import Column, Facts, Part, Remark, Table, words
from joulelab.serving.tokens.batch_means import Ratio
from joulelab.serving.tokens.costs import Cost, TokenEnergy
from joulelab.serving.tokens.energy import token_energy
from joulelab.serving.tokens.flow import Flow

SURE = (Status.MEASURED, Status.REPLAYED)


def energy_of_tokens(
    flow: Flow, measurement: Measurement, samples: Sequence[ChannelSamples], start_s: float
) -> TokenEnergy:
    """What the tokens of a measured load took.

    Args:
        flow: the answered requests.
        measurement: of the time of the load, with idle power.
        samples: of every channel in it.
        start_s: the first due time on the monotonic clock.
    """
    total = measurement.total
    curves = energy_curves(measurement, samples)
    known = {one.domain for one in curves}
    whole = total.gross_j is not None and known.issuperset(total.domains)
    return token_energy(flow, curves, start_s, whole=whole)


def token_parts(energy: TokenEnergy, g_per_kwh: float | None = None) -> list[Part]:
    """The answer first, then the units, the devices, the split, and what is unknown.

    Args:
        energy: of the load.
        g_per_kwh: grams of CO2e for a kWh, with PUE; ``None`` where the place is unknown.
    """
    parts: list[Part] = [token_answer(energy)]
    if energy.total is not None and energy.total.per:
        parts += [_units(energy, g_per_kwh), _devices(energy)]
    return [*parts, *map(Remark, _doubts(energy))]


def token_answer(energy: TokenEnergy) -> str:
    """Joules per output token in one line, or why they are unknown."""
    cost, total = energy.per_output_token, energy.total
    if cost is None or total is None:
        return f"energy per output token unknown: {energy.reason or 'no token in the window'}"
    sure = total.status in SURE
    about = "" if sure else "about "
    said = f"{about}{formats.joules(cost.gross.value)} per output token{_between(cost.gross)}"
    said += f", {total.status}"
    if cost.bound_j is not None:
        said += _meter(cost, sure=sure)
    if cost.net is not None:
        said += f"; without idle power {formats.joules(cost.net.value)}{_between(cost.net)}"
    return said


def token_data(energy: TokenEnergy, g_per_kwh: float | None = None) -> dict[str, Any]:
    """Plain data: all figures, and the units that people compare.

    Args:
        energy: of the load.
        g_per_kwh: grams of CO2e for a kWh, with PUE.
    """
    return {**energy.to_dict(), "compared": energy.compared(g_per_kwh)}


def _between(ratio: Ratio) -> str:
    if ratio.low is None or ratio.high is None:
        return ""
    return f" ({formats.joules_range(max(0.0, ratio.low), ratio.high)})"


def _meter(cost: Cost, *, sure: bool) -> str:
    bound_j, value_j = cost.bound_j or 0.0, cost.gross.value
    if sure:
        return f", meter ± {formats.joules(bound_j)}"
    return f", could be {formats.joules_range(max(0.0, value_j - bound_j), value_j + bound_j)}"


def _units(energy: TokenEnergy, g_per_kwh: float | None) -> Facts:
    per = energy.total.per if energy.total else {}
    compared = energy.compared(g_per_kwh)
    rows = []
    for unit, cost in per.items():
        if unit == "output token":
            continue  # the answer
        name = "token, prompt and output" if unit == "token" else unit
        rows.append((f"per {name}", f"{formats.joules(cost.gross.value)}{_between(cost.gross)}"))
    rows.append(("per 1,000 requests", formats.watt_hours(_times(compared, 3600.0))))
    if compared["output_tokens_per_kwh"] is not None:
        rows.append(("output tokens per kWh", f"{compared['output_tokens_per_kwh']:,.0f}"))
    grams = compared["g_co2e_per_million_output_tokens"]
    if grams is not None:
        rows.append(("per million output tokens", f"{formats.grams(grams)} CO2e"))
    split = energy.split
    for name, one in (("prompt token", split.prompt), ("output token", split.output)):
        if one is not None:
            cost_said = f"{formats.joules(one.value)}{_between(one)}"
            rows.append((f"one more {name}", cost_said))
    if split.base_w is not None:
        rows.append(("beside tokens", formats.watts(split.base_w)))
    rows.append(("window", _window(energy)))
    return Facts(rows)


def _times(compared: dict[str, float | None], factor: float) -> float | None:
    hours = compared["wh_per_1000_requests"]
    return None if hours is None else hours * factor


def _window(energy: TokenEnergy) -> str:
    window = energy.window
    kind = "steady" if window.steady else "all of the load"
    said = f"{kind}, {formats.duration(window.duration_s)}"
    if energy.output_tokens is not None:
        said += f", {energy.output_tokens:,.0f} output tokens"
    if energy.prompt_tokens is not None:
        said += f", {energy.prompt_tokens:,.0f} prompt tokens"
    return f"{said}, {energy.requests:,.1f} requests"


def _devices(energy: TokenEnergy) -> Table:
    rows = []
    for one in energy.costs:
        cost = one.per.get("output token") or one.per.get("request")
        assert cost is not None
        rows.append(
            {
                "devices": one.name,
                "domains": " + ".join(one.domains),
                "gross_j": one.gross_j,
                "net_j": one.net_j,
                "gross_j_per_output_token": cost.gross.value,
                "low_j": cost.gross.low,
                "high_j": cost.gross.high,
                "bound_j": cost.bound_j,
                "net_j_per_output_token": cost.net.value if cost.net else None,
                "status": one.status,
            }
        )
    unit = "output token" if energy.per_output_token else "request"
    columns = [
        words("devices"),
        words("domains", wide=True),
        Column("gross", "gross_j", units=formats.ENERGY),
        Column("net", "net_j", units=formats.ENERGY),
        Column(f"per {unit}", "gross_j_per_output_token", formats.joules),
        Column("95 %", ("low_j", "high_j"), formats.or_dash(formats.joules_range)),
        Column("meter ±", "bound_j", formats.or_dash(formats.joules)),
        Column("net", "net_j_per_output_token", formats.or_dash(formats.joules)),
        words("status"),
    ]
    return Table(rows, columns)


def _doubts(energy: TokenEnergy) -> list[str]:
    """What is unknown, and why."""
    doubts = [energy.reason] if energy.reason and energy.per_output_token is not None else []
    if not energy.window.steady and energy.window.reason:
        doubts.append(f"no steady window: {energy.window.reason}; ramp-up and drain are included")
    cost = energy.per_output_token
    if cost is not None and cost.gross.reason and energy.window.steady:
        doubts.append(f"no interval: {cost.gross.reason}")
    if energy.split.reason and energy.per_output_token is not None and energy.window.steady:
        doubts.append(f"prompt and output tokens apart: unknown, {energy.split.reason}")
    return [*doubts, *energy.split.doubts]
