"""What ``joulelab batch`` asks of images and of text alike: arrivals, device, meters, progress."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial

from joulelab.cli.output import progress_console, say
from joulelab.cli.serving_commands import Batch
from joulelab.energy.recorder import Recorder
from joulelab.errors import UsageError
from joulelab.serving.arrivals import ArrivalProcess, parse_arrivals
from joulelab.serving.call_syntax import parse_rate
from joulelab.serving.planning.comparison import ResponseLimit

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


def check_domains(recorder: Recorder, domains: Sequence[str] | None) -> None:
    """Refuse domains that no meter reads here."""
    readable = {channel.domain for channel in recorder.channels}
    for domain in domains or ():
        if domain not in readable:
            raise UsageError(
                f"--domain {domain} cannot be read here",
                f"readable: {', '.join(sorted(readable)) or 'nothing'}",
            )


def check_device(name: str) -> None:
    """Refuse what is not a device.

    Raises:
        UsageError: it is none.
    """
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", name):
        raise UsageError(f"--device {name!r} is not a device", "one of auto, cpu, cuda, cuda:INDEX")
