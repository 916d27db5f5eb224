"""Commands about inference: load on a server of the user's own."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from joulelab.cli.energy_commands import WHOLE_MACHINE, Busy
from joulelab.cli.options import Domains, Interval, Json, Meters, Place, Plugins, Pue
from joulelab.registry import load_plugin

commands = typer.Typer()


class Method(StrEnum):
    """Methods of requests that are sent."""

    POST = "POST"
    PUT = "PUT"
    PATCH = "PATCH"
    GET = "GET"


class Expected(StrEnum):
    """What the body of an answer must be."""

    ANYTHING = "anything"
    JSON = "json"


@commands.command()
def load(  # noqa: PLR0913, PLR0917 - an option of the command each
    url: Annotated[str, typer.Argument(metavar="URL", help="http:// or https://.")],
    arrivals: Annotated[
        str,
        typer.Option(
            "--arrivals",
            metavar="PROCESS",
            help="poisson(50), uniform-jitter(50, 0.2), bursty(50), trace(FILE.csv): requests per "
            "second, or their times.",
        ),
    ],
    requests: Annotated[
        int, typer.Option("--requests", min=1, metavar="N", help="How many; never more.")
    ],
    image: Annotated[
        Path | None,
        typer.Option(
            "--image",
            metavar="FILE",
            help="What is sent: a file, or a folder of images; scikit-learn's two photographs "
            "where not given.",
        ),
    ] = None,
    method: Annotated[Method, typer.Option("--method", help="Of the requests.")] = Method.POST,
    field: Annotated[
        str,
        typer.Option(
            "--field",
            metavar="NAME",
            help="Send the file as this field of a form; else it is the body itself.",
        ),
    ] = "",
    header: Annotated[
        list[str] | None,
        typer.Option("--header", metavar="NAME=VALUE", help="One more header; repeatable."),
    ] = None,
    expect: Annotated[
        Expected, typer.Option("--expect", help="With json, any other body has failed.")
    ] = Expected.ANYTHING,
    timeout: Annotated[
        str, typer.Option("--timeout", metavar="TIME", help="For one request: 500ms, 10s.")
    ] = "10s",
    p99: Annotated[
        str | None,
        typer.Option(
            "--p99", metavar="TIME", help="Response time that 99 of 100 requests must keep: 200ms."
        ),
    ] = None,
    concurrency: Annotated[
        int,
        typer.Option(
            "--concurrency", min=1, metavar="N", help="Most requests under way, a connection each."
        ),
    ] = 256,
    warm_up: Annotated[
        int,
        typer.Option("--warm-up", min=0, metavar="N", help="Requests before, that do not count."),
    ] = 0,
    seed: Annotated[
        int, typer.Option("--seed", min=0, help="Of the arrivals and the order of images.")
    ] = 0,
    yes: Annotated[
        bool, typer.Option("--yes", help="Put a heavy load on another machine all the same.")
    ] = False,
    meter: Meters = None,
    domain: Domains = None,
    interval: Interval = 0.1,
    idle: Annotated[
        float | None,
        typer.Option(
            "--idle",
            metavar="SECONDS",
            help="How long idle power is measured before and after; 0 for not at all. "
            "As long as the sensors need where not given.",
        ),
    ] = None,
    place: Place = None,
    pue: Pue = None,
    busy: Annotated[
        Busy, typer.Option("--busy", help="What to do while another program measures here.")
    ] = Busy.WAIT,
    out: Annotated[
        Path | None,
        typer.Option("--out", metavar="FILE", help="Every request, .parquet or .csv."),
    ] = None,
    plugin: Plugins = None,
    json: Json = False,
) -> None:
    """Send requests to an HTTP server of your own and measure this machine meanwhile.

    At most the rate and the count asked for are sent, each when it is due, however slow the server.
    Exit code 1: nothing was answered; 4: some failed, or --p99 was missed.
    """
    from joulelab.cli.signals import for_the_main_thread

    with for_the_main_thread():
        from joulelab.cli.durations import parse_duration_s
        from joulelab.cli.loading import Load, headers_of, run_load
        from joulelab.serving.http_load import Limits

    for path in plugin or []:
        load_plugin(path)
    task = Load(
        url=url,
        arrivals=arrivals,
        requests=requests,
        image=image,
        method=method.value,
        form_field=field,
        headers=headers_of(header or []),
        limits=Limits(parse_duration_s(timeout, "--timeout"), concurrency, expect is Expected.JSON),
        p99_s=None if p99 is None else parse_duration_s(p99, "--p99"),
        warm_up=warm_up,
        seed=seed,
        heavy=yes,
        idle_s=-1.0 if idle is None else max(idle, 0.0),
        out=out,
        as_json=json,
    )
    options = WHOLE_MACHINE | {
        "meters": meter or None,
        "domains": domain or None,
        "interval_s": interval,
        "place": place,
        "pue": pue,
        "busy": busy.value,
        "on_wait": lambda who: print(who, file=sys.stderr),
    }
    raise typer.Exit(run_load(task, options))
