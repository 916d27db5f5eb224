"""What ``joulelab batch`` does for images and text alike: its options, its table, its measuring."""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from joulelab.cli.options import parse_duration_s
from joulelab.cli.output import check_file, progress_console, say
from joulelab.cli.serving_commands import Batch
from joulelab.energy.detection import open_recorder
from joulelab.energy.recorder import Recorder
from joulelab.errors import UsageError
from joulelab.kinds.generation.token_table import TokenTable
from joulelab.kinds.inference.batch_table import BatchTable
from joulelab.kinds.inference.executor import Result, SessionExecutor, SessionJobT
from joulelab.kinds.inference.schedule import Measured, Patience, Schedule, Window, Work
from joulelab.optional import require
from joulelab.serving.arrivals import ArrivalProcess, parse_arrivals
from joulelab.serving.call_syntax import parse_rate
from joulelab.serving.planning.comparison import ResponseLimit
from joulelab.study.accounting import counted, devices_read
from joulelab.study.device import available_threads, find_device
from joulelab.study.manifest import processor_model

TableT = TypeVar("TableT", BatchTable, TokenTable)

INTERRUPTED = 130
"""Exit code after Ctrl-C."""


@contextmanager
def doing() -> Iterator[Callable[[str], None]]:
    """Report progress on standard error: in place on a terminal, else a line each."""
    console = progress_console()
    if not console.is_terminal:
        yield partial(say, style="dim")
        return
    with console.status("", refresh_per_second=1) as status:
        yield status.update


def _rate_per_s(text: str, option: str) -> float:
    """A rate in requests per second: ``50``, ``1e5``, ``50/min``, ``1000000/day``."""
    rate_per_s = parse_rate(text)
    if rate_per_s is None or not (rate_per_s > 0 and math.isfinite(rate_per_s)):
        raise UsageError(
            f"{option} {text.strip()!r} is not a rate",
            f"write requests per second, or with a unit: {option} 50, {option} 10,50,100, "
            f"{option} 3000/min",
        )
    return rate_per_s


def batch_arrivals(
    asked: Batch, limit: ResponseLimit | None
) -> tuple[list[ArrivalProcess], ArrivalProcess | None]:
    """The arrivals at each rate, and at the rate of the fleet, if requested."""
    texts = [one for text in asked.rate or () for one in text.split(",")]
    rates_per_s = [_rate_per_s(text, "--rate") for text in texts]
    if asked.fleet is not None and limit is None:
        raise UsageError(
            "--fleet needs a limit: without one, replicas would run at the edge of what they can "
            "answer",
            "give one: --p99 200ms",
        )
    if asked.arrivals is None and not rates_per_s and asked.fleet is None:
        raise UsageError(
            "at which rate do requests come?",
            'give --rate 50, --arrivals "trace(file.csv)", or --fleet 100000',
        )
    shape = parse_arrivals(asked.arrivals or "poisson(1)")
    rates = [shape.at_rate(rate_per_s) for rate_per_s in rates_per_s]
    if asked.fleet is not None:
        return rates, shape.at_rate(_rate_per_s(asked.fleet, "--fleet"))
    return rates or [shape], None


def check_measuring(asked: Batch, *modules: str, user: str) -> None:
    """Refuse impossible options of measuring, before it.

    Args:
        asked: the options of the command.
        modules: that measuring needs.
        user: what needs them, in words.

    Raises:
        UsageError: an option is impossible, or a module is missing.
    """
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", asked.device):
        raise UsageError(
            f"--device {asked.device!r} is not a device", "one of auto, cpu, cuda, cuda:INDEX"
        )
    parse_duration_s(asked.patience, "--patience")
    if asked.table is None:
        require(*modules, user=user)
    if asked.save is None:
        return
    if asked.table is not None:
        raise UsageError("--save keeps what is measured, and --table measures nothing", "drop one")
    check_file(asked.save)


def table_of(
    asked: Batch,
    read: Callable[[Path], TableT],
    measure: Callable[[], tuple[TableT, bool]],
    write: Callable[[Path, TableT], None],
) -> tuple[TableT, bool]:
    """The named table, or one measured now and saved; and whether Ctrl-C cut it short.

    Raises:
        UsageError: the named table cannot be read, or is of another model.
    """
    if asked.table is None:
        table, interrupted = measure()
        if asked.save is not None:
            write(asked.save, table)
        return table, interrupted
    table = read(asked.table)
    named = asked.llm or asked.model
    if named not in (None, table.model):
        raise UsageError(
            f"{asked.table}: the table is of {table.model}, not of {named}",
            f"leave the model out, or measure {named} without --table"
            if asked.llm is None
            else f"give --llm {table.model}, or measure without --table",
        )
    return table, False


def measured_here(
    asked: Batch,
    limit: ResponseLimit | None,
    executor: type[SessionExecutor[SessionJobT, Result]],
    work: Callable[[str, int], Work[SessionJobT, Result, Window]],
    first: str,
) -> tuple[Measured[Window], dict[str, Any]]:
    """What was measured on this machine, and the fields of a table that say where and when.

    Args:
        asked: the options of the command.
        limit: that ends measuring, if any.
        executor: does the work.
        work: what is measured, from the name of the device and a number of threads.
        first: what is measured first, in words.

    Raises:
        UsageError: a domain cannot be read here, or there is no such device or model.
        ServingError: the model fails.
        KeyboardInterrupt: Ctrl-C came before the first was measured.
    """
    patience_s = parse_duration_s(asked.patience, "--patience")
    patience = Patience(patience_s, asked.largest, limit.seconds if limit else None)
    threads, domains = asked.threads or available_threads(), asked.domain or None
    with ExitStack() as stack:
        recorder = stack.enter_context(
            open_recorder(asked.meter or None, interval_s=asked.interval)
        )
        _check_domains(recorder, domains)
        tell = stack.enter_context(doing())
        tell("loading torch")
        device = find_device(asked.device)
        read = devices_read(recorder.channels, domains, device.domain)
        session = executor(recorder, device.domain, 0.0, tell, devices=read)
        stack.callback(session.close)
        schedule = Schedule(
            session,
            work(device.name, threads),
            patience,
            lambda measurement: counted(measurement, domains, device.domain),
            tell,
            asked.seed,
        )
        try:
            measured = schedule.run()
        except KeyboardInterrupt:
            say(f"interrupted before {first} was measured: nothing to plan from")
            raise
    return measured, {
        "machine": processor_model() if device.name == "cpu" else device.model,
        "device": device.name,
        "threads": threads,
        "measured_at": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
    }


def _check_domains(recorder: Recorder, domains: Sequence[str] | None) -> None:
    """Refuse domains that no meter reads here."""
    readable = {channel.domain for channel in recorder.channels}
    for domain in domains or ():
        if domain not in readable:
            raise UsageError(
                f"--domain {domain} cannot be read here",
                f"readable: {', '.join(sorted(readable)) or 'nothing'}",
            )
