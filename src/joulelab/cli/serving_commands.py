"""Commands for inference: plan batching, and measure a server under load."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from joulelab.cli.energy_commands import WHOLE_MACHINE, Busy
from joulelab.cli.options import (
    DataDir,
    Domains,
    Interval,
    Json,
    Meters,
    Place,
    Plugins,
    Pue,
    Timezone,
)
from joulelab.registry import load_plugin

commands = typer.Typer()


class Method(StrEnum):
    """HTTP methods."""

    POST = "POST"
    PUT = "PUT"
    PATCH = "PATCH"
    GET = "GET"


class Expected(StrEnum):
    """Required type of a response body."""

    ANYTHING = "anything"
    JSON = "json"


@commands.command()
def load(  # noqa: PLR0913, PLR0917 - an option of the command each
    url: Annotated[str, typer.Argument(metavar="URL", help="URL, http:// or https://.")],
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
        int,
        typer.Option("--requests", min=1, metavar="N", help="Number of requests; never exceeded."),
    ],
    image: Annotated[
        Path | None,
        typer.Option(
            "--image",
            metavar="FILE",
            help="File or folder of images to send; default: scikit-learn's two photographs.",
        ),
    ] = None,
    method: Annotated[Method, typer.Option("--method", help="HTTP method.")] = Method.POST,
    field: Annotated[
        str,
        typer.Option(
            "--field",
            metavar="NAME",
            help="Send the file as this form field; default: as the body.",
        ),
    ] = "",
    header: Annotated[
        list[str] | None,
        typer.Option("--header", metavar="NAME=VALUE", help="Additional header; repeatable."),
    ] = None,
    expect: Annotated[
        Expected,
        typer.Option("--expect", help="With json, any other response body counts as a failure."),
    ] = Expected.ANYTHING,
    timeout: Annotated[
        str, typer.Option("--timeout", metavar="TIME", help="Timeout per request: 500ms, 10s.")
    ] = "10s",
    p99: Annotated[
        str | None,
        typer.Option(
            "--p99", metavar="TIME", help="Limit on the 99th percentile of response time: 200ms."
        ),
    ] = None,
    concurrency: Annotated[
        int,
        typer.Option(
            "--concurrency",
            min=1,
            metavar="N",
            help="Maximum number of open requests, one connection each.",
        ),
    ] = 256,
    warm_up: Annotated[
        int,
        typer.Option(
            "--warm-up", min=0, metavar="N", help="Number of warm-up requests, not counted."
        ),
    ] = 0,
    seed: Annotated[
        int, typer.Option("--seed", min=0, help="Seed for arrivals and the order of images.")
    ] = 0,
    yes: Annotated[
        bool, typer.Option("--yes", help="Allow a heavy load on another machine.")
    ] = False,
    meter: Meters = None,
    domain: Domains = None,
    interval: Interval = 0.1,
    idle: Annotated[
        float | None,
        typer.Option(
            "--idle",
            metavar="SECONDS",
            help="Time to measure idle power before and after; 0 to skip. Default: as long as the "
            "sensors need.",
        ),
    ] = None,
    place: Place = None,
    timezone: Timezone = None,
    pue: Pue = None,
    busy: Annotated[
        Busy, typer.Option("--busy", help="What to do if another program is measuring.")
    ] = Busy.WAIT,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", metavar="FILE", help="Write a table of all requests, .parquet or .csv."
        ),
    ] = None,
    plugin: Plugins = None,
    json: Json = False,
) -> None:
    """Send requests to your HTTP server and measure this machine meanwhile.

    Each request is sent when due, however slow the server; rate and count are never exceeded. Exit
    code 1: no request was answered; 4: some failed, or --p99 was missed.
    """
    from joulelab.cli.signals import for_the_main_thread

    with for_the_main_thread():
        from joulelab.cli.durations import parse_duration_s
        from joulelab.cli.loading import Load, headers_of, run_load
        from joulelab.energy.carbon.footprint import in_zone
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
        "place": in_zone(place, timezone),
        "pue": pue,
        "busy": busy.value,
        "on_wait": lambda who: print(who, file=sys.stderr),
    }
    raise typer.Exit(run_load(task, options))


@commands.command()
def batch(  # noqa: PLR0913, PLR0917 - an option of the command each
    model: Annotated[
        str | None,
        typer.Argument(
            metavar="MODEL",
            help="A torchvision network, or your own module:factory from the current folder.",
        ),
    ] = None,
    rate: Annotated[
        list[str] | None,
        typer.Option(
            "--rate",
            metavar="PER_S",
            help="Requests per second; several with commas, or repeated. Arrivals are Poisson, or "
            "--arrivals rescaled to this rate.",
        ),
    ] = None,
    arrivals: Annotated[
        str | None,
        typer.Option(
            "--arrivals",
            metavar="PROCESS",
            help="poisson(50), uniform-jitter(50, 0.2), bursty(50), trace(FILE.csv): requests per "
            "second, or their times.",
        ),
    ] = None,
    p99: Annotated[
        str | None,
        typer.Option(
            "--p99", metavar="TIME", help="Limit on the 99th percentile of response time: 200ms."
        ),
    ] = None,
    p95: Annotated[
        str | None, typer.Option("--p95", metavar="TIME", help="Limit on the 95th percentile.")
    ] = None,
    p50: Annotated[
        str | None, typer.Option("--p50", metavar="TIME", help="Limit on the median.")
    ] = None,
    policy: Annotated[
        list[str] | None,
        typer.Option(
            "--policy", metavar="POLICY", help='Additional policy: "fixed(8, 50)"; repeatable.'
        ),
    ] = None,
    replicas: Annotated[
        int,
        typer.Option(
            "--replicas", min=1, metavar="N", help="Number of servers that share each rate."
        ),
    ] = 1,
    fleet: Annotated[
        str | None,
        typer.Option(
            "--fleet",
            metavar="PER_S",
            help="Compute how many servers each rate needs, and their power.",
        ),
    ] = None,
    patience: Annotated[
        str,
        typer.Option("--patience", metavar="TIME", help="Time budget for measuring: 60s, 5min."),
    ] = "60s",
    largest: Annotated[
        int | None, typer.Option("--largest", min=1, metavar="N", help="Largest batch size.")
    ] = None,
    images: Annotated[
        str,
        typer.Option("--images", help="photographs, folder:PATH, or a data set."),
    ] = "photographs",
    ready: Annotated[
        bool, typer.Option("--ready", help="Use prepared tensors instead of images.")
    ] = False,
    crop: Annotated[
        int | None,
        typer.Option(
            "--crop",
            min=1,
            metavar="PIXELS",
            help="Input size of the model in pixels; default: as published.",
        ),
    ] = None,
    weights: Annotated[
        str, typer.Option("--weights", help="auto, random, pretrained, or a torchvision name.")
    ] = "auto",
    device: Annotated[
        str, typer.Option("--device", help="auto, cpu, cuda, or cuda:INDEX.")
    ] = "auto",
    threads: Annotated[
        int | None,
        typer.Option(
            "--threads", min=1, metavar="N", help="CPU threads of torch; default: all cores."
        ),
    ] = None,
    table: Annotated[
        Path | None,
        typer.Option("--table", metavar="FILE", help="Plan from a saved table, without measuring."),
    ] = None,
    save: Annotated[
        Path | None, typer.Option("--save", metavar="FILE", help="Save the measured table as JSON.")
    ] = None,
    seed: Annotated[
        int,
        typer.Option("--seed", min=0, help="Seed for arrivals, images and the order of measuring."),
    ] = 0,
    meter: Meters = None,
    domain: Domains = None,
    interval: Interval = 0.1,
    place: Place = None,
    timezone: Timezone = None,
    pue: Pue = None,
    data_dir: DataDir = None,
    plugin: Plugins = None,
    json: Json = False,
) -> None:
    """Find the batching policy with the lowest energy: measure batches here, then plan.

    Without a limit the lowest energy wins, however long requests wait. Exit code 4: the limit
    cannot be met, or requests arrive faster than they can be served.
    """
    from joulelab.cli.signals import for_the_main_thread

    with for_the_main_thread():
        from joulelab.cli.batch_measuring import Measured, check_device
        from joulelab.cli.batching import Question, answer_question
        from joulelab.cli.durations import parse_duration_s
        from joulelab.cli.limits import parse_limit, parse_rate_per_s
        from joulelab.energy.carbon.footprint import in_zone

    for path in plugin or []:
        load_plugin(path)
    check_device(device)
    question = Question(
        model=model,
        rates_per_s=tuple(
            parse_rate_per_s(one, "--rate") for text in rate or [] for one in text.split(",")
        ),
        arrivals=arrivals,
        limit=parse_limit({"--p99": p99, "--p95": p95, "--p50": p50}),
        own=tuple(policy or []),
        replicas=replicas,
        fleet_per_s=None if fleet is None else parse_rate_per_s(fleet, "--fleet"),
        place=in_zone(place, timezone),
        pue=pue,
        seed=seed,
        table=table,
        save=save,
        as_json=json,
        measured=Measured(
            weights=weights,
            images=images,
            ready=ready,
            crop=crop,
            device=device,
            threads=threads,
            patience_s=parse_duration_s(patience, "--patience"),
            largest=largest,
            meters=meter or None,
            domains=domain or None,
            interval_s=interval,
            data_dir=data_dir,
        ),
    )
    raise typer.Exit(answer_question(question))
