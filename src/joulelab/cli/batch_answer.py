"""What ``joulelab batch`` has found: plans for each rate, a fleet, and what to say of them."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from joulelab import formats
from joulelab.energy.detection import ESTIMATE
from joulelab.energy.reading import Status
from joulelab.kinds.inference.batch_table import BatchTable
from joulelab.kinds.inference.batch_table_file import table_data
from joulelab.serving.planning.comparison import Account, Outcome, ResponseLimit
from joulelab.serving.planning.fleet import Fleet, Site
from joulelab.serving.planning.plan import Plan
from joulelab.serving.policies import parse_policy

HELD, NOT_HELD = 0, 4
MATTERS = 0.01
"""A share of the joules that is not worth measuring again for."""
MOST_TIMES = 100
"""Longer measuring is not counted out to the reader."""
KILOWATTS_W = 1e4
"""From how many watts on power is told in kilowatts."""

_LONG_WAIT_S = 1e9


@dataclass(frozen=True)
class Scenario:
    """One rate, and what to do about it.

    Attributes:
        arrivals: at all replicas together, as text.
        rate_per_s: of them.
        replicas: that share it.
        plan: for one of them.
        shared: power of all under the choice; ``None`` without one.
        needed: where there is no choice: how many replicas would do, or why none would.
        times_to_tell: where chance may have made the choice: how many times as long measuring
            would have to take to decide; ``None`` where that is not known.
    """

    arrivals: str
    rate_per_s: float
    replicas: int
    plan: Plan
    shared: Fleet | None
    needed: int | str | None
    times_to_tell: float | None = None

    def in_words(self, model: str, limit: ResponseLimit | None) -> str:
        """The choice, the baseline and the saving in one sentence.

        Args:
            model: what is served.
            limit: of the response time, if any.
        """
        made = self.plan
        among = f" on {self.replicas:,} replicas" if self.replicas > 1 else ""
        within = f" within {_limit_text(limit)}" if limit else ""
        at = f"{model} at {self.arrivals}{among}{within}"
        if made.best is None:
            return f"{at}: {self._why_none(limit)}"
        cost = _cost(made.best, made.account)
        answered = f"{made.limit.name} {formats.duration(made.best.response_s)}"
        single = made.best.policy == made.baseline.policy
        told = f"{at}: {'batch 1' if single else made.best.policy} needs {cost} per request"
        told += f" ({answered})"
        undecided = self._undecided()
        if single:
            return f"{told}; {undecided or 'no batching needs less'}"
        told += self._against_single()
        return f"{told}; {undecided}" if undecided else told

    def _against_single(self) -> str:
        """What batch 1 needs, and the saving where that is more than chance makes."""
        made = self.plan
        before = _cost(made.baseline, made.account)
        if made.baseline.saturated:
            return (
                f"; batch 1 ({before}) cannot keep up: at most "
                f"{formats.significant(self.replicas * made.baseline.most_per_s)}/s"
            )
        reached = f"{made.limit.name} {formats.duration(made.baseline.response_s)}"
        if made.saving is not None and made.saving < made.spread:
            return f", which cannot be told from batch 1 ({before}, {reached})"
        return f", {formats.percent(made.saving, 0)} less than batch 1 ({before}, {reached})"

    def _undecided(self) -> str:
        """The policy with the fewest joules, where chance may have made them fewer."""
        made = self.plan
        if made.least is None or made.undecided is None:
            return ""
        said = (
            f"{made.least.policy} would need {formats.percent(made.undecided)} less "
            f"({made.limit.name} {formats.duration(made.least.response_s)}), which may be chance: "
            f"windows of one size differ by up to {formats.share(made.spread)}"
        )
        if made.undecided < MATTERS:
            return f"{said}; so little hardly matters"
        if self.times_to_tell is None:
            return said
        times = math.ceil(self.times_to_tell)
        if times > MOST_TIMES:
            return f"{said}; more than {MOST_TIMES} times the --patience would be needed to tell"
        return f"{said}; about {max(times, 2)} times the --patience would tell"

    def _why_none(self, limit: ResponseLimit | None) -> str:
        quickest = self.plan.quickest
        if quickest is None:
            most_per_s = self.replicas * max(one.most_per_s for one in self.plan.outcomes)
            told = (
                f"saturated, more arrives than can be answered: at most "
                f"{formats.significant(most_per_s)}/s"
            )
        else:
            told = (
                f"no policy keeps {self.plan.limit}; the quickest is {quickest.policy}: "
                f"{self.plan.limit.name} {formats.duration(quickest.response_s)}, "
                f"{_cost(quickest, self.plan.account)} per request"
            )
        if isinstance(self.needed, int):
            holding = f" with {limit}" if limit else ""
            return f"{told}; {formats.count(self.needed, 'replica')} would answer all{holding}"
        return f"{told}; {self.needed}" if self.needed else told

    def endless(self) -> str:
        """Said of a choice that waits for ever when requests stop; empty of any other."""
        made = self.plan
        if made.best is None or not _waits_for_ever(made.best):
            return ""
        told = f"{made.best.policy} waits without end when requests stop coming"
        others = [one for one in made.outcomes if one.holds and not _waits_for_ever(one)]
        costs = [one.mean_per_request(made.account) for one in others]
        known = [(cost, one) for cost, one in zip(costs, others, strict=True) if cost is not None]
        if not known:
            return told
        safe = min(known, key=lambda one: one[0])[1]
        return f"{told}; {safe.policy} does not, for {_cost(safe, made.account)} per request"

    def to_dict(self, model: str, limit: ResponseLimit | None) -> dict[str, Any]:
        """Plain data; unknown figures are ``None``; arguments as of `in_words`."""
        return self.plan.to_dict() | {
            "arrivals": self.arrivals,
            "rate_per_s": self.rate_per_s,
            "replicas": self.replicas,
            "limit": None if limit is None else asdict(limit),
            "in_words": self.in_words(model, limit),
            "power": None if self.shared is None else self.shared.to_dict(),
            "replicas_needed": self.needed if isinstance(self.needed, int) else None,
        }


@dataclass(frozen=True)
class Answer:
    """All that was found.

    Attributes:
        table: what batches cost.
        limit: of the response time, if any.
        site: carbon intensity and PUE.
        place: of the intensity, in words.
        scenarios: one for each rate.
        fleet: with the fewest watts, or why there is none; ``None`` where none was asked for.
        interrupted: Ctrl-C came while measuring.
        remarks: on what was left out.
        own: policies of the user's, as text.
    """

    table: BatchTable
    limit: ResponseLimit | None
    site: Site
    place: str
    scenarios: tuple[Scenario, ...]
    fleet: Fleet | str | None = None
    interrupted: bool = False
    remarks: tuple[str, ...] = ()
    own: tuple[str, ...] = ()

    @property
    def exit_code(self) -> int:
        """0; 4 where the limit cannot be held or a rate saturates."""
        missed = any(one.plan.best is None for one in self.scenarios)
        return NOT_HELD if missed or isinstance(self.fleet, str) else HELD

    def sentences(self) -> list[str]:
        """A line for each rate, and for the fleet."""
        said = [one.in_words(self.table.model, self.limit) for one in self.scenarios]
        if isinstance(self.fleet, str):
            said.append(f"fleet: {self.fleet}")
        elif self.fleet is not None:
            said.append(self._fleet_in_words(self.fleet))
        return said

    def _fleet_in_words(self, made: Fleet) -> str:
        told = (
            f"{self.table.model} at {formats.significant(made.rate_per_s)}/s within "
            f"{_limit_text(made.outcome.limit)}: {formats.count(made.replicas, 'replica')} with "
            f"{made.policy}: {power_in_words(made)}"
        )
        before = made.baseline
        if before is None or before is made:
            return told
        saving = f", {formats.percent(made.saving, 0)} less power" if made.saving else ""
        return f"{told}; batch 1 needs {formats.count(before.replicas, 'replica')}{saving}"

    def uncertainty(self) -> list[str]:
        """How sure the joules are, a line each."""
        said = []
        table = self.table
        if table.status is not Status.MISSING:
            bound = table.relative_error
            sources = formats.listing(table.sources)
            known = f"within {formats.share(bound)}" if bound is not None else "of unknown error"
            said.append(
                f"energies are {table.status} ({sources}), {known}; an error of the sensor is "
                "mostly one factor on all sizes, and hardly changes a saving"
            )
        if (spread := table.repeatability) is not None:
            told = f"windows of one size differ from their mean by up to {formats.share(spread)}"
            unsure = [
                f"{formats.significant(one.rate_per_s)}/s"
                for one in self.scenarios
                if 0 < (one.plan.saving or 0.0) < spread
            ]
            if unsure:
                told += (
                    f"; the saving at {formats.listing(unsure)} is less than that: measure "
                    "again on a quiet machine, with more --patience"
                )
            said.append(told)
        spreads = [
            (high - low) / 2 / mean
            for one in self.scenarios
            if one.plan.best is not None
            and (mean := one.plan.best.mean_per_request(one.plan.account))
            and (ends := one.plan.best.spread_per_request(one.plan.account))
            for low, high in (ends,)
        ]
        if spreads:
            said.append(
                f"arrivals alone move the joules of a simulated window by "
                f"{formats.share(max(spreads))}"
            )
        return said

    def warnings(self) -> list[str]:
        """What a reader should know, each once."""
        said = ["interrupted: planned from what had been measured"] if self.interrupted else []
        table = self.table
        if table.status in (Status.ESTIMATED, Status.PARTLY_ESTIMATED):
            only = table.sources == (ESTIMATE,)
            said.append(
                "no sensor was read: joules are estimated from processor time and memory"
                if only
                else "a part of the energy is estimated, not read from a sensor"
            )
        if table.status is Status.MISSING:
            said.append("no energy is known: policies are compared by seconds of the server")
        said += [*table.remarks, *self.remarks]
        said += filter(None, (one.endless() for one in self.scenarios))
        said += [remark for one in self.scenarios for remark in one.plan.remarks]
        if isinstance(self.fleet, Fleet):
            said += self.fleet.remarks
        return list(dict.fromkeys(said))

    def to_dict(self) -> dict[str, Any]:
        """Plain data; unknown figures are ``None``."""
        fleet = self.fleet
        table = table_data(self.table)
        table["sizes"] = [
            {
                "size": one.size,
                "batches": one.batches,
                "seconds": one.seconds,
                "images_per_s": one.size / one.seconds,
                "net_j_per_image": one.net_j_per_image,
                "gross_j_per_image": one.gross_j_per_image,
                "error_j_per_image": one.error_j_per_image,
                "status": str(one.energy.status),
            }
            for one in self.table.sizes
        ]
        return {
            "model": self.table.model,
            "table": table,
            "idle_w": self.table.costs.idle_w,
            "limit": None if self.limit is None else asdict(self.limit),
            "g_per_kwh": self.site.g_per_kwh,
            "place": self.place or None,
            "pue": self.site.pue,
            "plans": [one.to_dict(self.table.model, self.limit) for one in self.scenarios],
            "fleet": fleet.to_dict() if isinstance(fleet, Fleet) else None,
            "sentences": self.sentences(),
            "uncertainty": self.uncertainty(),
            "warnings": self.warnings(),
            "interrupted": self.interrupted,
        }


def power_in_words(made: Fleet) -> str:
    """Power, energy of a request and of a day, and CO2e.

    Args:
        made: replicas under one policy.
    """
    told = f"{_power(made.power_w)}, {formats.joules(made.joules_per_request)} per request"
    if made.kwh_per_day is None:
        return told
    pue = f" at a PUE of {made.site.pue:g}" if made.site.pue > 1 else ""
    told += f", {formats.significant(made.kwh_per_day)} kWh a day{pue}"
    if made.co2e_kg_per_day is None:
        return told
    return f"{told}, {formats.grams(1e3 * made.co2e_kg_per_day)} CO2e a day"


def _power(power_w: float | None) -> str:
    if power_w is None:
        return "power unknown"
    return (
        f"{formats.significant(power_w / 1e3)} kW"
        if power_w >= KILOWATTS_W
        else formats.watts(power_w)
    )


def _waits_for_ever(outcome: Outcome) -> bool:
    """Whether a single request would never be served by itself."""
    return parse_policy(outcome.policy).take(1, _LONG_WAIT_S) == 0


def _limit_text(limit: ResponseLimit) -> str:
    return f"{limit.name} \N{LESS-THAN OR EQUAL TO} {formats.duration(limit.seconds)}"


def _cost(outcome: Outcome, account: Account) -> str:
    value = outcome.mean_per_request(account)
    if account == "time":
        return f"{formats.duration(value)} of a server"
    return formats.joules(value) + (" above idle" if account == "net" else "")
