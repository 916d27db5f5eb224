"""The report of a load: answers, times, and what this machine used meanwhile."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

from joulelab import formats
from joulelab.cli.load_window import MeasuredLoad
from joulelab.cli.measuring import one_measurement
from joulelab.cli.serving_commands import Load
from joulelab.energy.measurement import Measurement, measurement_data
from joulelab.present import Column, Facts, Part, Remark, Table, words
from joulelab.serving.arrivals import ArrivalProcess
from joulelab.serving.http_results import Exchanges, LimitCheck, LoadSummary, per_s
from joulelab.serving.planning.comparison import ResponseLimit
from joulelab.serving.summary import Spread

NOTHING_ANSWERED, NOT_AS_WANTED, INTERRUPTED = 1, 4, 130
OF_THIS_MACHINE = (
    "The energy covers this machine: the server too, if it runs here, and whatever else runs."
)
OF_THE_GENERATOR = (
    "The energy covers this machine, which sends the requests. It does not include a server on "
    "another machine."
)


@dataclass(frozen=True)
class LoadReport:
    """A load that has ended.

    Attributes:
        asked: the options of the command.
        arrivals: of the requests.
        load: what came of each request, and what was used meanwhile.
        here: whether the server is on this machine.
        limit: on response times, if any.
    """

    asked: Load
    arrivals: ArrivalProcess
    load: MeasuredLoad
    here: bool
    limit: ResponseLimit | None = None

    @property
    def exchanges(self) -> Exchanges:
        """What came of each request that was due."""
        return self.load.exchanges

    @property
    def measurement(self) -> Measurement:
        """From the first sending to the last answer."""
        return self.load.measurement

    @cached_property
    def summary(self) -> LoadSummary:
        """The load in figures."""
        return LoadSummary.of(self.exchanges, self.arrivals.rate_per_s)

    @cached_property
    def kept(self) -> LimitCheck | None:
        """Whether the limit was kept; ``None`` without one."""
        return None if self.limit is None else LimitCheck.of(self.exchanges, self.limit)

    @cached_property
    def checks(self) -> list[LimitCheck]:
        """The limits, and whether each was kept."""
        return [] if self.kept is None else [self.kept]

    @property
    def interrupted(self) -> bool:
        """Whether Ctrl-C came before the last request ended."""
        return len(self.exchanges) < self.asked.requests or "interrupted" in self.summary.reasons

    @property
    def exit_code(self) -> int:
        """0 if every request was answered, and within the limit."""
        if self.interrupted:
            return INTERRUPTED
        if not self.summary.answered:
            return NOTHING_ANSWERED
        held = all(check.held for check in self.checks)
        return 0 if held and self.summary.answered == self.summary.requests else NOT_AS_WANTED

    def per_request_j(self, energy_j: float | None) -> float | None:
        """Joules per answered request; ``None`` if unknown or nothing was answered."""
        answered = self.summary.answered
        return energy_j / answered if energy_j is not None and answered else None

    @property
    def generator_share(self) -> float | None:
        """Share of one core that generator and meters used."""
        duration_s = self.measurement.duration_s
        return self.load.busy_s / duration_s if duration_s > 0 else None

    def sentences(self) -> list[str]:
        """What happened, one line each."""
        said = []
        if self.interrupted:
            due = formats.count(len(self.exchanges), "request")
            said.append(f"interrupted: {due} of {self.asked.requests:,} had been due")
        for reason, count in self.summary.reasons.items():
            detail = self.exchanges.details.get(reason, "")
            said.append(f"{reason}: {count:,}" + (f"; the first said: {detail}" if detail else ""))
        if self.exchanges.location:
            said.append(f"the first redirect led to {self.exchanges.location}")
        said += filter(None, (self.summary.generator_in_words, self.summary.saturation))
        if len(self.exchanges):
            said += [check.in_words for check in self.checks]
        net_j = self.measurement.total.net_j
        if net_j is not None and net_j < 0:
            said.append(
                "net energy is below 0, which says nothing: more ran while idle power was measured"
            )
        return said

    def to_dict(self) -> dict[str, Any]:
        """Plain data; unknown figures are ``None``."""
        total = self.measurement.total
        return {
            "url": self.asked.url,
            "arrivals": str(self.arrivals),
            "seed": self.asked.seed,
            "planned": self.asked.requests,
            "interrupted": self.interrupted,
            **asdict(self.summary),
            "redirected_to": self.exchanges.location or None,
            "limit": None if self.kept is None else limit_data(self.kept),
            "gross_j_per_request": self.per_request_j(total.gross_j),
            "net_j_per_request": self.per_request_j(total.net_j),
            "energy_status": str(total.status),
            "server_on_this_machine": self.here,
            "generator_processor_share": self.generator_share,
            "measurement": measurement_data(self.measurement),
            "sentences": self.sentences(),
        }

    def parts(self) -> list[Part]:
        """Answers and energy per request first, then rates, times and energy in detail."""
        return [
            *self.answer(),
            *self.sentences(),
            self._facts(),
            *([self._times()] if self.summary.answered else ()),
            *one_measurement(self.measurement),
            self.scope(),
        ]

    def more_facts(self) -> list[tuple[str, str]]:
        """What else a reader must know of the load."""
        return []

    def answer(self) -> list[Part]:
        """How many requests were answered, and what one took."""
        parts, total = [self.answered_in_words()], self.measurement.total
        if self.summary.answered:
            gross, net = map(formats.joules, map(self.per_request_j, (total.gross_j, total.net_j)))
            parts.append(f"energy per answered request: {gross} gross, {net} net ({total.status})")
        return parts

    def answered_in_words(self) -> Part:
        """How many requests were answered; marked where not all were, or a limit was missed."""
        summary = self.summary
        said = f"{summary.answered:,} of {formats.count(summary.requests, 'request')} answered"
        return Remark(said, "" if self.exit_code == 0 else "doubtful")

    def scope(self) -> str:
        """What the energy covers."""
        return OF_THIS_MACHINE if self.here else OF_THE_GENERATOR

    def _facts(self) -> Facts:
        summary, late = self.summary, self.summary.late
        counts = [f"{summary.answered:,} answered", f"{summary.failed:,} failed"]
        counts += [f"{summary.not_sent:,} not sent"] if summary.not_sent else []
        rates = (
            f"{per_s(summary.offered_per_s)} offered ({per_s(summary.due_per_s)} drawn), "
            f"{per_s(summary.sent_per_s)} sent, {per_s(summary.throughput_per_s)} answered"
        )
        generator = (
            f"{formats.duration(late.p50_s)} late (p50), {formats.duration(late.p99_s)} (p99), "
            f"{formats.share(self.generator_share)} of a core"
        )
        return Facts(
            [
                ("URL", self.asked.url),
                *self.more_facts(),
                ("arrivals", str(self.arrivals)),
                ("requests", f"{summary.requests:,}: {', '.join(counts)}"),
                ("rate", rates),
                ("generator", generator),
            ]
        )

    def _times(self) -> Table:
        times = {"from due": self.summary.response, "from sending": self.summary.service}
        return spread_table("time to the answer", times)


def spread_table(heading: str, times: Mapping[str, Spread]) -> Table:
    """A table of times.

    Args:
        heading: of the first column.
        times: by the name of each row.
    """
    rows = [{heading: name, **asdict(times[name])} for name in times]
    names = ("mean", "p50", "p95", "p99", "max")
    columns = [Column(name, f"{name}_s", formats.duration) for name in names]
    return Table(rows, [words(heading), *columns])


def limit_data(check: LimitCheck) -> dict[str, Any]:
    """A limit, and whether it was kept, as plain data."""
    held = {"share_within": check.share_within, "held": check.held}
    return {**asdict(check.limit), **held}
