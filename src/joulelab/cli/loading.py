"""``joulelab load``: requests to an HTTP endpoint, and what this machine used meanwhile.

::

    probe | warm-up | cool down, idle power | window: first sending ... last answer | idle power
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from joulelab import formats
from joulelab.cli.measuring import one_measurement
from joulelab.cli.options import parse_duration_s, parse_pairs
from joulelab.cli.output import check_file, progress_console, say, show, write_frame
from joulelab.cli.recording import WHOLE_MACHINE
from joulelab.cli.serving_commands import Expected, Load
from joulelab.cli.signals import end_on_sigterm
from joulelab.energy.command import cool_down, idle_duration_s
from joulelab.energy.measurement import Measurement, measurement_data
from joulelab.energy.monitor import Measuring, Monitor
from joulelab.errors import ServingError, UsageError
from joulelab.optional import require
from joulelab.present import Column, Facts, Part, Remark, Table, View, words
from joulelab.serving.arrivals import ArrivalProcess, parse_arrivals
from joulelab.serving.http_load import HttpLoad, Limits
from joulelab.serving.http_results import Exchanges, LimitCheck, LoadSummary, per_s
from joulelab.serving.http_target import WITH_BODY, Content, Target, is_loopback
from joulelab.serving.images import image_files, shipped_photographs
from joulelab.serving.planning.comparison import ResponseLimit

NOTHING_ANSWERED, NOT_AS_WANTED, INTERRUPTED = 1, 4, 130
HEAVY_PER_S, HEAVY_REQUESTS = 200.0, 10_000
"""Largest load on another machine without ``--yes``."""
MOST_REQUESTS = 10_000_000
COOL_DOWN_S = 30.0
OF_THIS_MACHINE = (
    "The energy covers this machine: the server too, if it runs here, and whatever else runs."
)
OF_THE_GENERATOR = (
    "The energy covers this machine, which sends the requests. It does not include a server on "
    "another machine."
)


def run_load(asked: Load) -> int:
    """Send a load, measure this machine, and show the result.

    Args:
        asked: the options of the command.

    Returns:
        0; 1 where nothing was answered; 4 where some requests failed or the limit was missed; 130
        where it was interrupted.

    Raises:
        UsageError: an option is impossible.
        ServingError: the endpoint cannot be reached, or answers no request of the warm-up.
    """
    timeout_s = parse_duration_s(asked.timeout, "--timeout")
    limits = Limits(timeout_s, asked.concurrency, asked.expect is Expected.JSON)
    limit = None
    if asked.p99 is not None:
        limit = ResponseLimit(99, parse_duration_s(asked.p99, "--p99"))
    _check_table(asked.out)
    target = Target.parse(asked.url)
    arrivals = parse_arrivals(asked.arrivals)
    _check_count(asked, arrivals)
    requests = _content(asked).prepared(target)
    schedule = _Schedule.of(asked, arrivals, len(requests))
    warm_up = _Schedule.of(asked, arrivals, len(requests), warm_up=True)
    addresses = target.addresses()
    loopback = is_loopback(addresses)
    if not loopback and not asked.yes:
        _check_weight((warm_up, schedule), target)
    options = WHOLE_MACHINE | asked.monitor | {"busy": asked.busy.value, "on_wait": say}
    for remark in arrivals.remarks:
        say(remark, "yellow")
    end_on_sigterm()
    with HttpLoad(target, addresses, requests, limits) as http:
        http.connect()
        with Monitor(**options) as monitor:
            _warm_up(http, asked, warm_up)
            exchanges, measurement, busy_s = _measured(http, asked, schedule, monitor)
    report = LoadReport(asked, arrivals, exchanges, measurement, busy_s, loopback, limit)
    show(View(report.parts(), report.to_dict), as_json=asked.json)
    if asked.out is not None:
        import pandas as pd

        rows = pd.DataFrame(exchanges.columns())
        write_frame(rows, asked.out, asked.out.suffix.lower().removeprefix("."))
    return report.exit_code


@dataclass(frozen=True)
class _Schedule:
    """Due times in seconds and the request due at each, (n,); fixed before sending."""

    due_s: NDArray[np.float64]
    which: NDArray[np.int64]

    @classmethod
    def of(
        cls, asked: Load, arrivals: ArrivalProcess, requests: int, *, warm_up: bool = False
    ) -> _Schedule:
        """The times and requests of the load, or of the warm-up before it."""
        count = asked.warm_up if warm_up else asked.requests
        due_s = arrivals.times_s(count, np.random.default_rng((asked.seed, 2 * warm_up)))
        which = np.random.default_rng((asked.seed, 2 * warm_up + 1)).integers(requests, size=count)
        return cls(due_s, which)

    @property
    def busiest(self) -> int:
        """The largest number of requests due within a second."""
        if not len(self.due_s):
            return 0
        ends = np.searchsorted(self.due_s, self.due_s + 1.0, side="left")
        return int((ends - np.arange(len(ends))).max())


def _measured(
    http: HttpLoad, asked: Load, schedule: _Schedule, monitor: Monitor
) -> tuple[Exchanges, Measurement, float]:
    """The exchanges, the measurement, and the processor time of the generator."""
    console, recorder = progress_console(), monitor.recorder
    idle_s = idle_duration_s(monitor) if asked.idle is None else max(asked.idle, 0.0)
    if idle_s:
        say(f"measuring idle power for {formats.duration(idle_s)} ...", "dim")
        recorder.measure_idle(idle_s)
    before_w, after_w = dict(recorder.idle_w), {}
    errors_w = [recorder.idle_error_w]
    http.connect()
    began_s = time.process_time()
    # What serves is another program: the GPUs that are hidden from this one may well be its own.
    measuring = Measuring(lambda: monitor, asked.url, [{}])
    with console.status("sending ...", refresh_per_second=1) as status, measuring:

        def tell(begun: int, under_way: int) -> None:
            status.update(f"{begun:,} of {asked.requests:,} due, {under_way:,} under way")

        exchanges = http.send(schedule.due_s, schedule.which, tell)
    busy_s = time.process_time() - began_s
    if idle_s and len(exchanges) == asked.requests:
        with suppress(KeyboardInterrupt):
            cool_down(monitor, COOL_DOWN_S)
            after_w = dict(recorder.measure_idle(idle_s))
            errors_w.append(recorder.idle_error_w)
    whole = measuring.result.with_idle(before_w, after_w, *errors_w)
    return exchanges, replace(whole, label="this machine"), busy_s


def _warm_up(http: HttpLoad, asked: Load, schedule: _Schedule) -> None:
    """Send the warm-up, at the same rate."""
    if not asked.warm_up:
        return
    exchanges = http.send(schedule.due_s, schedule.which)
    if len(exchanges) < asked.warm_up:
        raise KeyboardInterrupt
    if not exchanges.answered.any():
        reasons = [f"{reason}: {count}" for reason, count in exchanges.reasons.items()]
        raise ServingError(
            f"{asked.url} answered no request of the warm-up ({'; '.join(reasons)})",
            "try one request by hand first, for instance with curl",
        )


def _content(asked: Load) -> Content:
    headers = parse_pairs(asked.header, "--header")
    if asked.method not in WITH_BODY:
        if asked.image is not None or asked.field:
            raise UsageError(f"a {asked.method} request carries no image", "use --method POST")
        return Content((), asked.method.value, "", headers)
    files = shipped_photographs() if asked.image is None else image_files(asked.image)
    return Content(files, asked.method.value, asked.field, headers)


def _check_count(asked: Load, arrivals: ArrivalProcess) -> None:
    most = max(asked.requests, asked.warm_up)
    if most > MOST_REQUESTS:
        raise UsageError(
            f"{most:,} requests are too many to keep in memory", f"at most {MOST_REQUESTS:,}"
        )
    if arrivals.most is not None and asked.requests > arrivals.most:
        raise UsageError(
            f"{arrivals} has {formats.count(arrivals.most, 'arrival')}",
            f"ask for --requests {arrivals.most} at most",
        )


def _check_weight(schedules: Sequence[_Schedule], target: Target) -> None:
    """Refuse a heavy load on another machine without ``--yes``: a typing error is not an attack.

    The busiest second counts: the mean of a trace hides its bursts.
    """
    count = sum(len(one.due_s) for one in schedules)
    busiest = max(one.busiest for one in schedules)
    if busiest > HEAVY_PER_S or count > HEAVY_REQUESTS:
        raise UsageError(
            f"{target.host} is another machine, and {formats.count(count, 'request')}, up to "
            f"{busiest:,} of them within a second, are a heavy load (above {HEAVY_PER_S:g}/s or "
            f"{HEAVY_REQUESTS:,})",
            "if it is yours, and this is meant, say so with --yes",
        )


@dataclass(frozen=True)
class LoadReport:
    """A load that has ended.

    Attributes:
        asked: the options of the command.
        arrivals: of the requests.
        exchanges: what came of each that was due.
        measurement: of this machine, from the first sending to the last answer.
        busy_s: processor time of the generator and the meters in that time.
        loopback: whether the endpoint is on this machine's loopback.
        limit: on response times, if any.
    """

    asked: Load
    arrivals: ArrivalProcess
    exchanges: Exchanges
    measurement: Measurement
    busy_s: float
    loopback: bool
    limit: ResponseLimit | None = None

    @cached_property
    def summary(self) -> LoadSummary:
        """The load in figures."""
        return LoadSummary.of(self.exchanges, self.arrivals.rate_per_s)

    @cached_property
    def kept(self) -> LimitCheck | None:
        """Whether the limit was kept; ``None`` without one."""
        return None if self.limit is None else LimitCheck.of(self.exchanges, self.limit)

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
        held = self.kept is None or self.kept.held
        return 0 if held and self.summary.answered == self.summary.requests else NOT_AS_WANTED

    def per_request_j(self, energy_j: float | None) -> float | None:
        """Joules per answered request; ``None`` if unknown or nothing was answered."""
        answered = self.summary.answered
        return energy_j / answered if energy_j is not None and answered else None

    @property
    def generator_share(self) -> float | None:
        """Share of one core that generator and meters used."""
        duration_s = self.measurement.duration_s
        return self.busy_s / duration_s if duration_s > 0 else None

    def sentences(self) -> list[str]:
        """What happened, one line each."""
        said = []
        if self.interrupted:
            due = formats.count(len(self.exchanges), "request")
            said.append(f"interrupted: {due} of {self.asked.requests:,} had been due")
        said += [f"{reason}: {count:,}" for reason, count in self.summary.reasons.items()]
        if self.exchanges.location:
            said.append(f"the first redirect led to {self.exchanges.location}")
        said += filter(None, (self.summary.generator_in_words, self.summary.saturation))
        if self.kept is not None and len(self.exchanges):
            said.append(self.kept.in_words)
        net_j = self.measurement.total.net_j
        if net_j is not None and net_j < 0:
            said.append(
                "net energy is below 0, which says nothing: more ran while idle power was measured"
            )
        return said

    def to_dict(self) -> dict[str, Any]:
        """Plain data; unknown figures are ``None``."""
        total = self.measurement.total
        limit = None
        if self.kept is not None:
            held = {"share_within": self.kept.share_within, "held": self.kept.held}
            limit = {**asdict(self.kept.limit), **held}
        return {
            "url": self.asked.url,
            "arrivals": str(self.arrivals),
            "seed": self.asked.seed,
            "planned": self.asked.requests,
            "interrupted": self.interrupted,
            **asdict(self.summary),
            "redirected_to": self.exchanges.location or None,
            "limit": limit,
            "gross_j_per_request": self.per_request_j(total.gross_j),
            "net_j_per_request": self.per_request_j(total.net_j),
            "energy_status": str(total.status),
            "server_on_loopback": self.loopback,
            "generator_processor_share": self.generator_share,
            "measurement": measurement_data(self.measurement),
            "sentences": self.sentences(),
        }

    def parts(self) -> list[Part]:
        """Answers and energy per request first, then rates, times and energy in detail."""
        return [
            *self._answer(),
            *self.sentences(),
            self._facts(),
            *([self._times()] if self.summary.answered else ()),
            *one_measurement(self.measurement),
            OF_THIS_MACHINE if self.loopback else OF_THE_GENERATOR,
        ]

    def _answer(self) -> list[Part]:
        summary, total = self.summary, self.measurement.total
        said = f"{summary.answered:,} of {formats.count(summary.requests, 'request')} answered"
        parts: list[Part] = [Remark(said, "" if self.exit_code == 0 else "doubtful")]
        if summary.answered:
            gross, net = map(formats.joules, map(self.per_request_j, (total.gross_j, total.net_j)))
            parts.append(f"energy per answered request: {gross} gross, {net} net ({total.status})")
        return parts

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
                ("arrivals", str(self.arrivals)),
                ("requests", f"{summary.requests:,}: {', '.join(counts)}"),
                ("rate", rates),
                ("generator", generator),
            ]
        )

    def _times(self) -> Table:
        times = {"from due": self.summary.response, "from sending": self.summary.service}
        rows = [{"time to the answer": name, **asdict(times[name])} for name in times]
        names = ("mean", "p50", "p95", "p99", "max")
        columns = [Column(name, f"{name}_s", formats.duration) for name in names]
        return Table(rows, [words("time to the answer"), *columns])


def _check_table(path: Path | None) -> None:
    """Refuse a table of requests that cannot be written, before sending."""
    if path is None:
        return
    if path.suffix.lower() not in (".parquet", ".csv"):
        raise UsageError(f"{path}: a table of requests is Parquet or CSV", "end it in .parquet")
    if path.suffix.lower() == ".parquet":
        require("pyarrow", user="writing Parquet")
    check_file(path)
