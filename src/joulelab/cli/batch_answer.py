"""The answer of ``joulelab batch``: sentences, tables, and plain data."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from joulelab import formats
from joulelab.energy.detection import ESTIMATE
from joulelab.energy.reading import Status
from joulelab.kinds.inference.batch_table import READY, BatchTable, table_data
from joulelab.present import Column, Remark, Section, Table, View, words
from joulelab.serving.planning.comparison import Account, Outcome, ResponseLimit
from joulelab.serving.planning.fleet import Fleet, Site
from joulelab.serving.planning.plan import Plan
from joulelab.serving.policies import parse_policy

HELD, NOT_HELD = 0, 4
MATTERS = 0.01
"""Smallest share of the joules worth measuring again for."""
MOST_TIMES = 100
"""Longest measuring, in multiples of ``--patience``, that a sentence states."""
KILOWATTS_W = 1e4
"""From here on power is shown in kilowatts."""
SHOWN = 4
"""Number of policies in a table that hold the limit, cheapest first."""
COST_HEADINGS: dict[Account, str] = {
    "gross": "J/request",
    "net": "net J/request",
    "time": "time/request",
}
MOST_WARNINGS = 3
"""Number of warnings without ``--verbose``."""
_LONG_WAIT_S = 1e9


@dataclass(frozen=True)
class Scenario:
    """One rate, and its plan.

    Attributes:
        model: what is served.
        limit: of the response time, if any.
        arrivals: at all replicas together, as text.
        rate_per_s: of them.
        replicas: that share it.
        plan: for one of them.
        shared: power of all under the choice; ``None`` without one.
        needed: without a choice: the number of replicas that would do, or why none would.
        times_to_tell: if the choice may be chance: factor by which longer measuring would decide;
            ``None`` if unknown.
    """

    model: str
    limit: ResponseLimit | None
    arrivals: str
    rate_per_s: float
    replicas: int
    plan: Plan
    shared: Fleet | None
    needed: int | str | None
    times_to_tell: float | None = None

    def in_words(self) -> str:
        """The choice, the baseline and the saving in one sentence."""
        made = self.plan
        among = f" on {self.replicas:,} replicas" if self.replicas > 1 else ""
        within = f" within {_limit_text(self.limit)}" if self.limit else ""
        at = f"{self.model} at {self.arrivals}{among}{within}"
        if made.best is None:
            return f"{at}: {self._why_none()}"
        single = made.best.policy == made.baseline.policy
        told = (
            f"{at}: {'batch 1' if single else made.best.policy} needs {self._cost(made.best)} per "
            f"request ({_reached(made.best)})"
        )
        undecided = self._undecided()
        if single:
            return f"{told}; {undecided or 'no batching needs less'}"
        told += self._against_single()
        return f"{told}; {undecided}" if undecided else told

    @property
    def scatter(self) -> float | None:
        """Variation of the cost of the choice between windows, as a share; ``None`` if unknown."""
        if self.plan.best is None:
            return None
        mean = self.plan.best.mean_per_request(self.plan.account)
        ends = self.plan.best.spread_per_request(self.plan.account)
        return (ends[1] - ends[0]) / 2 / mean if mean and ends else None

    def _cost(self, outcome: Outcome) -> str:
        cost = _cost(self.plan.account)(outcome.mean_per_request(self.plan.account))
        return cost + {"time": " of a server", "net": " above idle", "gross": ""}[self.plan.account]

    def _against_single(self) -> str:
        """The cost of batch 1, and the saving if it exceeds chance."""
        made = self.plan
        before = self._cost(made.baseline)
        if made.baseline.saturated:
            return (
                f"; batch 1 ({before}) cannot keep up: at most "
                f"{formats.significant(self.replicas * made.baseline.most_per_s)}/s"
            )
        before += f", {_reached(made.baseline)}"
        if made.saving is not None and made.saving < made.spread:
            return f", which cannot be told from batch 1 ({before})"
        return f", {formats.percent(made.saving, 0)} less than batch 1 ({before})"

    def _undecided(self) -> str:
        """The policy with the fewest joules, if that may be chance."""
        made = self.plan
        if made.least is None or made.undecided is None:
            return ""
        said = (
            f"{made.least.policy} would need {formats.percent(made.undecided)} less "
            f"({_reached(made.least)}), which may be chance: "
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

    def _why_none(self) -> str:
        quickest = self.plan.quickest
        if quickest is None:
            most_per_s = self.replicas * max(one.most_per_s for one in self.plan.outcomes)
            told = (
                f"saturated, more arrives than can be answered: at most "
                f"{formats.significant(most_per_s)}/s"
            )
        else:
            told = (
                f"no policy meets {self.plan.limit}; the quickest is {quickest.policy}: "
                f"{_reached(quickest)}, {self._cost(quickest)} per request"
            )
        if isinstance(self.needed, int):
            holding = f" with {self.limit}" if self.limit else ""
            return f"{told}; {formats.count(self.needed, 'replica')} would answer all{holding}"
        return f"{told}; {self.needed}" if self.needed else told

    def endless(self) -> str:
        """Warning if the choice never answers a single last request; else empty."""
        made = self.plan
        if made.best is None or not _waits_for_ever(made.best):
            return ""
        told = f"{made.best.policy} waits without end when requests stop coming"
        safe = [one for one in _cheapest_first(made) if not _waits_for_ever(one)]
        if not safe:
            return told
        return f"{told}; {safe[0].policy} does not, for {self._cost(safe[0])} per request"

    def to_dict(self) -> dict[str, Any]:
        """Plain data; unknown figures are ``None``."""
        return self.plan.to_dict() | {
            "arrivals": self.arrivals,
            "rate_per_s": self.rate_per_s,
            "replicas": self.replicas,
            "limit": None if self.limit is None else asdict(self.limit),
            "in_words": self.in_words(),
            "power": None if self.shared is None else self.shared.to_dict(),
            "replicas_needed": self.needed if isinstance(self.needed, int) else None,
        }


@dataclass(frozen=True)
class Answer:
    """The whole answer.

    Attributes:
        table: what batches cost.
        limit: of the response time, if any.
        site: carbon intensity and PUE.
        place: of the intensity, in words.
        scenarios: one for each rate.
        fleet: with the fewest watts, or why none is possible; ``None`` if not requested.
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
        """0; 4 if the limit cannot be met or a rate saturates."""
        missed = any(one.plan.best is None for one in self.scenarios)
        return NOT_HELD if missed or isinstance(self.fleet, str) else HELD

    def sentences(self) -> list[str]:
        """A line for each rate, and for the fleet."""
        said = [one.in_words() for one in self.scenarios]
        if isinstance(self.fleet, str):
            said.append(f"fleet: {self.fleet}")
        elif self.fleet is not None:
            said.append(self._fleet_in_words(self.fleet))
        return said

    def _fleet_in_words(self, made: Fleet) -> str:
        told = (
            f"{self.table.model} at {formats.significant(made.rate_per_s)}/s within "
            f"{_limit_text(made.outcome.limit)}: {formats.count(made.replicas, 'replica')} with "
            f"{made.policy}: {_power_in_words(made)}"
        )
        before = made.baseline
        if before is None or before is made:
            return told
        saving = f", {formats.percent(made.saving, 0)} less power" if made.saving else ""
        return f"{told}; batch 1 needs {formats.count(before.replicas, 'replica')}{saving}"

    def uncertainty(self) -> list[str]:
        """Uncertainty of the joules, one line each."""
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
        scatters = [one.scatter for one in self.scenarios if one.scatter is not None]
        if scatters:
            said.append(
                f"arrivals alone move the joules of a simulated window by "
                f"{formats.share(max(scatters))}"
            )
        return said

    def warnings(self) -> list[str]:
        """Warnings, each once; those that can change the choice come first."""
        said = ["interrupted: planned from what had been measured"] if self.interrupted else []
        table = self.table
        if table.status is Status.MISSING:
            said.append("no energy is known: policies are compared by seconds of the server")
        said += filter(None, (one.endless() for one in self.scenarios))
        said += [remark for one in self.scenarios for remark in one.plan.remarks]
        if isinstance(self.fleet, Fleet):
            said += self.fleet.remarks
        said += [*table.remarks, *self.remarks]
        if table.status in (Status.ESTIMATED, Status.PARTLY_ESTIMATED):
            only = table.sources == (ESTIMATE,)
            said.append(
                "no sensor was read: joules are estimated from processor time and memory"
                if only
                else "a part of the energy is estimated, not read from a sensor"
            )
        return list(dict.fromkeys(said))

    def to_dict(self) -> dict[str, Any]:
        """Plain data; unknown figures are ``None``."""
        fleet = self.fleet
        sizes = {"sizes": size_rows(self.table)}
        return {
            "model": self.table.model,
            "table": table_data(self.table) | sizes,
            "idle_w": self.table.costs.idle_w,
            "limit": None if self.limit is None else asdict(self.limit),
            "g_per_kwh": self.site.g_per_kwh,
            "place": self.place or None,
            "pue": self.site.pue,
            "plans": [one.to_dict() for one in self.scenarios],
            "fleet": fleet.to_dict() if isinstance(fleet, Fleet) else None,
            "sentences": self.sentences(),
            "uncertainty": self.uncertainty(),
            "warnings": self.warnings(),
            "interrupted": self.interrupted,
        }


def size_rows(table: BatchTable) -> list[dict[str, Any]]:
    """Time and energy of batches, one row per size.

    Args:
        table: of one model.
    """
    return [
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
        for one in table.sizes
    ]


def answer_view(answer: Answer, *, verbose: bool = True) -> View:
    """The sentences, warnings, policies or rates, and the measured batches.

    Args:
        answer: to show.
        verbose: all remarks; else the first three, and the error bound.
    """
    warnings = answer.warnings()
    more = 0 if verbose else len(warnings) - MOST_WARNINGS
    if more > 0:
        said = f"{formats.count(more, 'more remark')}: -v shows them"
        warnings = [*warnings[:MOST_WARNINGS], said]
    choices = _policies if len(answer.scenarios) == 1 else _rates
    return View(
        [
            *answer.sentences(),
            *_powers(answer),
            *map(Remark, warnings),
            *([choices(answer)] if answer.scenarios else ()),
            _batches(answer, verbose=verbose),
        ],
        lambda: answer.to_dict() | {"exit_code": answer.exit_code},
    )


def _batches(answer: Answer, *, verbose: bool) -> Section:
    """The measured batches, their conditions and their uncertainty."""
    table = answer.table
    windows = [window.size for window in table.windows]
    columns = [
        Column("batch", "size"),
        Column("time", "seconds", formats.duration),
        Column("images/s", "images_per_s", formats.significant),
        Column("net", "net_j_per_image", units=formats.ENERGY),
        Column("gross", "gross_j_per_image", units=formats.ENERGY),
        Column("error bound", "error_j_per_image", units=formats.ENERGY),
        Column("windows", lambda row: windows.count(row["size"])),
    ]
    threads = f", {formats.count(table.threads, 'thread')}" if table.device == "cpu" else ""
    images = "prepared tensors" if table.images == READY else f"images: {table.images}"
    about = f"weights: {table.weights}; {images}, {table.crop} px"
    if table.costs.idle_w is not None:
        about += f"; idle with the model loaded: {formats.watts(table.costs.idle_w)}"
    heading = f"{table.model} on {table.machine}{threads}"
    doubts = "\n".join(answer.uncertainty()[: None if verbose else 1])
    made = Table(size_rows(table), columns, doubts, title="Energy of an image by size of the batch")
    return Section(heading, [about, made])


def _policies(answer: Answer) -> Table:
    """The policies worth showing at a single rate."""
    made = answer.scenarios[0].plan
    rows = [
        {
            "policy": one.policy,
            "cost": one.mean_per_request(made.account),
            "response_s": one.response_s,
            "mean_s": math.inf if one.saturated else _mean(one.response_means_s),
            "batch": one.batch_mean,
            "load": one.load,
            "marks": ", ".join(_marks(one, made, answer)),
        }
        for one in _shown(made, answer.own)
    ]
    columns = [
        words("policy"),
        Column(COST_HEADINGS[made.account], "cost", _cost(made.account)),
        Column(made.limit.name, "response_s", _duration_or_grows),
        Column("mean", "mean_s", _duration_or_grows),
        Column("batch", form=formats.significant),
        Column("load", form=_whole_percent),
        words("", "marks"),
    ]
    return Table(rows, columns)


def _marks(one: Outcome, made: Plan, answer: Answer) -> list[str]:
    marks = {
        "best": one is made.best,
        "fewest J?": one is made.least and one is not made.best,
        "baseline": one is made.baseline,
        "quickest": one is made.quickest,
        "yours": one.policy in answer.own,
        "too slow": answer.limit is not None and not one.holds,
    }
    return [mark for mark, holds in marks.items() if holds]


def _shown(made: Plan, own: tuple[str, ...]) -> list[Outcome]:
    """The cheapest that hold the limit, the baseline, the user's own, and the quickest."""
    chosen = [made.best, made.least, *_cheapest_first(made)[:SHOWN], made.baseline]
    chosen += [one for one in made.outcomes if one.policy in own]
    chosen.append(made.quickest)
    if made.best is None:
        chosen.append(max(made.outcomes, key=lambda one: one.most_per_s))
    return list({one.policy: one for one in chosen if one is not None}.values())


def _rates(answer: Answer) -> Table:
    """The choice at each of several rates."""
    first = answer.scenarios[0].plan
    cost = _cost(first.account)
    rows = [_rate_row(one) for one in answer.scenarios]
    columns = [
        Column("rate", form=lambda rate: f"{formats.significant(rate)}/s"),
        words("policy"),
        Column(COST_HEADINGS[first.account], "cost", formats.or_dash(cost)),
        Column("batch 1", form=lambda value: "saturated" if value is None else cost(value)),
        Column("saving", form=_whole_percent),
        Column(first.limit.name, "response_s", formats.or_dash(formats.duration)),
        Column("load", form=_whole_percent),
    ]
    return Table(rows, columns)


def _rate_row(scenario: Scenario) -> dict[str, Any]:
    made, single = scenario.plan, scenario.plan.baseline
    best = made.best
    why_none = "saturated" if made.quickest is None else f"none keeps {made.limit}"
    same = single.saturated or best is single
    return {
        "rate": scenario.rate_per_s,
        "policy": why_none if best is None else best.policy,
        "cost": None if best is None else best.mean_per_request(made.account),
        "batch 1": None if single.saturated else single.mean_per_request(made.account),
        "saving": None if same else made.saving,
        "response_s": None if best is None else best.response_s,
        "load": None if best is None else best.load,
    }


def _powers(answer: Answer) -> list[str]:
    """Power of the servers at each rate, and the carbon intensity of a known place."""
    said = [
        f"{formats.count(one.replicas, 'server')} at {formats.significant(one.rate_per_s)}/s: "
        f"{_power_in_words(one.shared)}"
        for one in answer.scenarios
        if one.shared is not None and one.shared.power_w is not None
    ]
    if answer.site.g_per_kwh is not None:
        of = f" ({answer.place})" if answer.place else ""
        said.append(f"carbon intensity: {answer.site.g_per_kwh:g} g/kWh{of}")
    return said


def _power_in_words(made: Fleet) -> str:
    """Power, energy per request and per day, and CO2e."""
    if made.power_w is None:
        power = "power unknown"
    elif made.power_w >= KILOWATTS_W:
        power = f"{formats.significant(made.power_w / 1e3)} kW"
    else:
        power = formats.watts(made.power_w)
    told = f"{power}, {formats.joules(made.joules_per_request)} per request"
    if made.kwh_per_day is None:
        return told
    pue = f" at a PUE of {made.site.pue:g}" if made.site.pue > 1 else ""
    told += f", {formats.significant(made.kwh_per_day)} kWh a day{pue}"
    if made.co2e_kg_per_day is None:
        return told
    return f"{told}, {formats.grams(1e3 * made.co2e_kg_per_day)} CO2e a day"


def _cheapest_first(made: Plan) -> list[Outcome]:
    """The policies that hold the limit and whose cost is known."""
    costs = {one.policy: one.mean_per_request(made.account) for one in made.outcomes if one.holds}
    known = [one for one in made.outcomes if costs.get(one.policy) is not None]
    return sorted(known, key=lambda one: costs[one.policy] or 0.0)


def _waits_for_ever(outcome: Outcome) -> bool:
    """Whether a single request would never be served by itself."""
    return parse_policy(outcome.policy).take(1, _LONG_WAIT_S) == 0


def _limit_text(limit: ResponseLimit) -> str:
    return f"{limit.name} \N{LESS-THAN OR EQUAL TO} {formats.duration(limit.seconds)}"


def _reached(outcome: Outcome) -> str:
    return f"{outcome.limit.name} {formats.duration(outcome.response_s)}"


def _cost(account: Account) -> Callable[[float | None], str]:
    return formats.duration if account == "time" else formats.joules


def _mean(values: tuple[float, ...]) -> float:
    return sum(values) / len(values)


def _duration_or_grows(seconds: float) -> str:
    return "grows" if math.isinf(seconds) else formats.duration(seconds)


def _whole_percent(share: float | None) -> str:
    return formats.percent(share, 0)
