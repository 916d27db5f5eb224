"""``joulelab load``: requests to an HTTP endpoint, and what this machine used meanwhile.

::

    probe | warm-up | cool down, idle power | window: first sending ... last answer | idle power
"""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.text import Text

from joulelab import formats
from joulelab.cli.load_report import LoadReport, check_table, print_report, write_table
from joulelab.cli.output import progress_console
from joulelab.energy.command import cool_down, idle_duration_s
from joulelab.energy.measurement import Measurement
from joulelab.energy.monitor import Measuring, Monitor, Options
from joulelab.errors import ServingError, UsageError
from joulelab.serving.arrivals import ArrivalProcess, parse_arrivals
from joulelab.serving.http_load import HttpLoad, Limits
from joulelab.serving.http_results import Exchanges
from joulelab.serving.http_target import (
    WITH_BODY,
    Content,
    Target,
    is_loopback,
)
from joulelab.serving.images import image_files, shipped_photographs
from joulelab.serving.planning.comparison import ResponseLimit

NOTHING_ANSWERED, NOT_AS_WANTED, INTERRUPTED = 1, 4, 130
HEAVY_PER_S, HEAVY_REQUESTS = 200.0, 10_000
"""What is sent to another machine without being asked twice."""
MOST_REQUESTS = 10_000_000
COOL_DOWN_S = 30.0


@dataclass(frozen=True)
class Load:
    """What is to be sent, and what is wanted of the answers.

    Attributes:
        url: the endpoint.
        arrivals: of the requests, as `parse_arrivals` reads them.
        requests: how many.
        image: file or folder that is sent; scikit-learn's photographs where ``None``.
        method: of HTTP.
        form_field: that carries the file; the file is the body itself where empty.
        headers: more headers.
        limits: see `joulelab.serving.http_load.Limits`.
        p99_s: limit on the response time of 99 of 100 requests, if any.
        warm_up: requests before, that do not count.
        seed: of arrivals and images.
        heavy: a heavy load on another machine is meant.
        idle_s: how long idle power is measured; negative for as long as the sensors need.
        out: file for one row per request.
        as_json: JSON instead of tables.
    """

    url: str
    arrivals: str
    requests: int
    image: Path | None = None
    method: str = "POST"
    form_field: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)
    limits: Limits = field(default_factory=Limits)
    p99_s: float | None = None
    warm_up: int = 0
    seed: int = 0
    heavy: bool = False
    idle_s: float = -1.0
    out: Path | None = None
    as_json: bool = False


def headers_of(written: Sequence[str]) -> dict[str, str]:
    """Headers by name, from ``NAME=VALUE``.

    Raises:
        UsageError: there is no name, or no value.
    """
    headers = {}
    for text in written:
        name, equals, value = text.partition("=")
        if not name.strip() or not equals:
            raise UsageError(f"{text!r} is no header", "write it as --header 'Name=value'")
        headers[name.strip()] = value.strip()
    return headers


def run_load(load: Load, options: Options) -> int:
    """Send a load, measure this machine, and print what came of it.

    Args:
        load: what is to be sent.
        options: of the monitor.

    Returns:
        0; 1 where nothing was answered; 4 where some requests failed or the limit was missed; 130
        where it was interrupted.

    Raises:
        UsageError: it cannot be sent as it is written.
        ServingError: the endpoint cannot be reached, or answers no request of the warm-up.
    """
    check_table(load.out)
    target = Target.parse(load.url)
    arrivals = parse_arrivals(load.arrivals)
    _check_count(load, arrivals)
    requests = _content(load).prepared(target)
    schedule = _Schedule.of(load, arrivals, len(requests))
    warm_up = _Schedule.of(load, arrivals, len(requests), warm_up=True)
    addresses = target.addresses()
    loopback = is_loopback(addresses)
    if not loopback and not load.heavy:
        _check_weight((warm_up, schedule), target)
    console = progress_console()
    for remark in arrivals.remarks:
        console.print(Text(remark, style="yellow"), soft_wrap=True)
    with _ended_by_sigterm_too(), HttpLoad(target, addresses, requests, load.limits) as http:
        http.connect()
        with Monitor(**options) as monitor:
            _warm_up(http, load, warm_up)
            measured = _measured(http, load, schedule, monitor, console)
    report = LoadReport(
        url=load.url,
        arrivals=str(arrivals),
        seed=load.seed,
        offered_per_s=arrivals.rate_per_s,
        planned=load.requests,
        exchanges=measured.exchanges,
        measurement=measured.measurement,
        busy_s=measured.busy_s,
        loopback=loopback,
        limit=None if load.p99_s is None else ResponseLimit(99, load.p99_s),
    )
    print_report(report, as_json=load.as_json)
    if load.out is not None:
        write_table(load.out, measured.exchanges)
    return _exit_code(report)


@contextmanager
def _ended_by_sigterm_too() -> Iterator[None]:
    """SIGTERM does what Ctrl-C does: what was measured is said."""
    before = signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@dataclass(frozen=True)
class _Schedule:
    """Fixed before anything is sent: (n,) due times in seconds, and which request is due."""

    due_s: NDArray[np.float64]
    which: NDArray[np.int64]

    @classmethod
    def of(
        cls, load: Load, arrivals: ArrivalProcess, requests: int, *, warm_up: bool = False
    ) -> _Schedule:
        """The times and requests of the load, or of the warm-up before it."""
        count = load.warm_up if warm_up else load.requests
        due_s = arrivals.times_s(count, np.random.default_rng((load.seed, 2 * warm_up)))
        which = np.random.default_rng((load.seed, 2 * warm_up + 1)).integers(requests, size=count)
        return cls(due_s, which)

    @property
    def busiest(self) -> int:
        """The most requests that are due within any one second."""
        if not len(self.due_s):
            return 0
        ends = np.searchsorted(self.due_s, self.due_s + 1.0, side="left")
        return int((ends - np.arange(len(ends))).max())


@dataclass(frozen=True)
class _Measured:
    """What came of the requests, what this machine used, and the generator's processor time."""

    exchanges: Exchanges
    measurement: Measurement
    busy_s: float


def _measured(
    http: HttpLoad, load: Load, schedule: _Schedule, monitor: Monitor, console: Console
) -> _Measured:
    idle_s = idle_duration_s(monitor) if load.idle_s < 0 else load.idle_s
    if idle_s:
        console.print(
            f"measuring idle power for {formats.duration(idle_s)} ...", style="dim", markup=False
        )
        monitor.recorder.measure_idle(idle_s)
    before_w, after_w = dict(monitor.recorder.idle_w), {}
    errors_w = [monitor.recorder.idle_error_w]
    http.connect()
    began_s = time.process_time()
    # What serves is another program: the GPUs that are hidden from this one may well be its own.
    measuring = Measuring(lambda: monitor, load.url, [{}])
    with console.status("sending ...", refresh_per_second=1) as status, measuring:

        def tell(begun: int, under_way: int) -> None:
            status.update(f"{begun:,} of {load.requests:,} due, {under_way:,} under way")

        exchanges = http.send(schedule.due_s, schedule.which, tell)
    busy_s = time.process_time() - began_s
    if idle_s and len(exchanges) == load.requests:
        with suppress(KeyboardInterrupt):
            cool_down(monitor, COOL_DOWN_S)
            after_w = dict(monitor.recorder.measure_idle(idle_s))
            errors_w.append(monitor.recorder.idle_error_w)
    whole = measuring.result.with_idle(before_w, after_w, *errors_w)
    measurement = replace(whole, label="this machine")
    return _Measured(exchanges, measurement, busy_s)


def _warm_up(http: HttpLoad, load: Load, schedule: _Schedule) -> None:
    """Send what does not count, at the same rate."""
    if not load.warm_up:
        return
    exchanges = http.send(schedule.due_s, schedule.which)
    if len(exchanges) < load.warm_up:
        raise KeyboardInterrupt
    if not exchanges.answered.any():
        reasons = [f"{reason}: {count}" for reason, count in exchanges.reasons.items()]
        raise ServingError(
            f"{load.url} answered no request of the warm-up ({'; '.join(reasons)})",
            "try one request by hand first, for instance with curl",
        )


def _content(load: Load) -> Content:
    if load.method not in WITH_BODY:
        if load.image is not None or load.form_field:
            raise UsageError(f"a {load.method} request carries no image", "use --method POST")
        return Content((), load.method, "", load.headers)
    files = shipped_photographs() if load.image is None else image_files(load.image)
    return Content(files, load.method, load.form_field, load.headers)


def _check_count(load: Load, arrivals: ArrivalProcess) -> None:
    if load.requests > MOST_REQUESTS or load.warm_up > MOST_REQUESTS:
        raise UsageError(
            f"{max(load.requests, load.warm_up):,} requests are too many to keep in memory",
            f"at most {MOST_REQUESTS:,}",
        )
    if arrivals.most is not None and load.requests > arrivals.most:
        raise UsageError(
            f"{arrivals} has {formats.count(arrivals.most, 'arrival')}",
            f"ask for --requests {arrivals.most} at most",
        )


def _check_weight(schedules: Sequence[_Schedule], target: Target) -> None:
    """A slip of the finger must not be an attack on somebody's server.

    What counts is what is sent in any one second: the mean of a trace says nothing of its bursts.
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


def _exit_code(report: LoadReport) -> int:
    if report.interrupted:
        return INTERRUPTED
    if not report.summary.answered:
        return NOTHING_ANSWERED
    return 0 if report.as_wanted else NOT_AS_WANTED
