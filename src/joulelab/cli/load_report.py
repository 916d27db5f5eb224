"""What ``joulelab load`` says: rates, failures, response times, energy, and whether it was well."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from joulelab import formats
from joulelab.cli.measuring import print_measurement
from joulelab.cli.output import data_console, print_json
from joulelab.energy.measurement import Measurement, measurement_data
from joulelab.errors import JoulelabError, UsageError
from joulelab.serving.http_results import Exchanges, LimitCheck, LoadSummary, per_s
from joulelab.serving.planning.comparison import ResponseLimit
from joulelab.serving.summary import Spread

PARQUET, CSV = ".parquet", ".csv"
OF_THIS_MACHINE = (
    "The energy is that of this machine: of the server too if it runs here, and of what else runs."
)
OF_THE_GENERATOR = (
    "The energy is that of this machine, which sends the requests. If the server is on another "
    "one, its energy is not in it."
)


@dataclass(frozen=True)
class LoadReport:
    """A load that has ended.

    Attributes:
        url: of the endpoint.
        arrivals: of the requests.
        seed: of the arrivals.
        offered_per_s: mean rate of the arrivals.
        planned: how many requests were asked for.
        exchanges: what came of each that was due.
        measurement: of this machine, from the first sending to the last answer.
        busy_s: processor time of the generator and the meters in that time.
        loopback: whether the endpoint is on this machine's loopback.
        limit: on response times, if any.
    """

    url: str
    arrivals: str
    seed: int
    offered_per_s: float
    planned: int
    exchanges: Exchanges
    measurement: Measurement
    busy_s: float
    loopback: bool
    limit: ResponseLimit | None = None

    @cached_property
    def summary(self) -> LoadSummary:
        """The load in figures."""
        return LoadSummary.of(self.exchanges, self.offered_per_s)

    @cached_property
    def kept(self) -> LimitCheck | None:
        """Whether the limit was kept, if there was one."""
        return None if self.limit is None else LimitCheck.of(self.exchanges, self.limit)

    @property
    def interrupted(self) -> bool:
        """Whether Ctrl-C came before the last request had been due and had ended."""
        return len(self.exchanges) < self.planned or "interrupted" in self.summary.reasons

    @property
    def as_wanted(self) -> bool:
        """Whether everything was answered, and within the limit."""
        held = self.kept is None or self.kept.held
        return held and self.summary.answered == self.summary.requests

    def per_request_j(self, energy_j: float | None) -> float | None:
        """Joules for each answered request; ``None`` where unknown or nothing was answered."""
        answered = self.summary.answered
        return energy_j / answered if energy_j is not None and answered else None

    @property
    def generator_share(self) -> float | None:
        """Share of one core that generator and meters used."""
        duration_s = self.measurement.duration_s
        return self.busy_s / duration_s if duration_s > 0 else None

    def sentences(self) -> list[str]:
        """What is to be said of the load, a line each."""
        said = []
        if self.interrupted:
            due = formats.count(len(self.exchanges), "request")
            said.append(f"interrupted: {due} of {self.planned:,} had been due")
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
            limit = {
                "percentile": self.kept.limit.percentile,
                "seconds": self.kept.limit.seconds,
                "share_within": self.kept.share_within,
                "held": self.kept.held,
            }
        return {
            "url": self.url,
            "arrivals": self.arrivals,
            "seed": self.seed,
            "planned": self.planned,
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


def print_report(report: LoadReport, *, as_json: bool) -> None:
    """Print it all to standard output.

    Args:
        report: of a load that has ended.
        as_json: one JSON object instead.
    """
    if as_json:
        print_json(report.to_dict())
        return
    console = data_console()
    console.print(f"{report.url}: {report.arrivals}", style="bold", soft_wrap=True, markup=False)
    for name, value in _lines(report):
        console.print(f"{name:10} {value}", soft_wrap=True, markup=False)
    for line in report.sentences():
        console.print(line, soft_wrap=True, markup=False)
    if report.summary.answered:
        console.print(_times(report.summary))
    _print_energy(report, console)


def _lines(report: LoadReport) -> list[tuple[str, str]]:
    summary, late = report.summary, report.summary.late
    counts = [f"{summary.answered:,} answered", f"{summary.failed:,} failed"]
    counts += [f"{summary.not_sent:,} not sent"] if summary.not_sent else []
    rates = (
        f"{per_s(summary.offered_per_s)} offered ({per_s(summary.due_per_s)} drawn), "
        f"{per_s(summary.sent_per_s)} sent, {per_s(summary.throughput_per_s)} answered"
    )
    generator = (
        f"{formats.duration(late.p50_s)} late (p50), {formats.duration(late.p99_s)} (p99), "
        f"{formats.share(report.generator_share)} of a core"
    )
    return [
        ("requests", f"{summary.requests:,}: {', '.join(counts)}"),
        ("rate", rates),
        ("generator", generator),
    ]


def _times(summary: LoadSummary) -> Table:
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    table.add_column("time to the answer")
    for name in ("mean", "p50", "p95", "p99", "max"):
        table.add_column(name, justify="right", no_wrap=True)
    rows: dict[str, Spread] = {"from due": summary.response, "from sending": summary.service}
    for name, spread in rows.items():
        table.add_row(name, *(formats.duration(value) for value in asdict(spread).values()))
    return table


def _print_energy(report: LoadReport, console: Console) -> None:
    print_measurement(report.measurement, console)
    total = report.measurement.total
    gross_j, net_j = report.per_request_j(total.gross_j), report.per_request_j(total.net_j)
    if report.summary.answered:
        console.print(
            f"energy per answered request: {formats.joules(gross_j)} gross, "
            f"{formats.joules(net_j)} net ({total.status})",
            style="bold",
            soft_wrap=True,
        )
    whose = OF_THIS_MACHINE if report.loopback else OF_THE_GENERATOR
    console.print(whose, style="dim", soft_wrap=True)


def check_table(path: Path | None) -> None:
    """Refuse a table of requests that could not be written, before anything is sent.

    Args:
        path: of the table, if any.

    Raises:
        UsageError: another suffix, or the folder does not exist.
    """
    if path is None:
        return
    if path.suffix.lower() not in (PARQUET, CSV):
        raise UsageError(f"{path}: a table of requests is Parquet or CSV", "end it in .parquet")
    if not path.absolute().parent.is_dir():
        raise UsageError(f"{path}: there is no folder {path.parent}", "make it first")


def write_table(path: Path, exchanges: Exchanges) -> None:
    """Write one row per request; what is unknown is empty.

    Args:
        path: ends in ``.parquet`` or ``.csv``.
        exchanges: what came of each request.

    Raises:
        JoulelabError: the file cannot be written.
    """
    import pandas as pd

    frame = pd.DataFrame(exchanges.columns())
    try:
        if path.suffix.lower() == CSV:
            frame.to_csv(path, index=False)
        else:
            frame.to_parquet(path, index=False)
    except OSError as error:
        raise JoulelabError(
            f"{path} cannot be written: {error.strerror or error}", "name another file with --out"
        ) from error
