"""Commands about inference: which batching policy to run, and load on an HTTP server."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from joulelab.cli.energy_commands import Busy
from joulelab.cli.options import DataDir, Idle, MeterOptions, command

commands = typer.Typer()

ARRIVALS = typer.Option(
    metavar="PROCESS",
    help="poisson(50), uniform-jitter(50, 0.2), bursty(50), trace(FILE.csv): requests per second, "
    "or their times.",
)
P99 = Annotated[
    str | None,
    typer.Option(
        metavar="TIME", help="Response time that 99 of 100 requests must keep, such as 200ms."
    ),
]


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


@command(commands, "load", "joulelab.cli.loading:run_load")
@dataclass(frozen=True, kw_only=True)
class Load(MeterOptions):
    """Send requests to your own HTTP server and measure this machine meanwhile.

    At most the rate and the count asked for are sent, each when it is due, however slow the server.
    Exit code 1: nothing was answered; 4: some failed, or --p99 was missed.
    """

    url: Annotated[str, typer.Argument(metavar="URL", help="http:// or https://.")]
    arrivals: Annotated[str, ARRIVALS]
    requests: Annotated[int, typer.Option(min=1, metavar="N", help="How many; never more.")]
    image: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="What is sent: a file, or a folder of images; scikit-learn's two photographs "
            "where not given.",
        ),
    ] = None
    method: Annotated[Method, typer.Option(help="HTTP method.")] = Method.POST
    field: Annotated[
        str,
        typer.Option(
            metavar="NAME", help="Send the file as this field of a form; else it is the body."
        ),
    ] = ""
    header: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="One more header; repeatable.")
    ] = None
    expect: Annotated[Expected, typer.Option(help="With json, any other body has failed.")] = (
        Expected.ANYTHING
    )
    timeout: Annotated[
        str, typer.Option(metavar="TIME", help="For one request, such as 500ms or 10s.")
    ] = "10s"
    p99: P99 = None
    concurrency: Annotated[
        int,
        typer.Option(min=1, metavar="N", help="Most requests under way, a connection each."),
    ] = 256
    warm_up: Annotated[
        int, typer.Option(min=0, metavar="N", help="Requests before, which do not count.")
    ] = 0
    seed: Annotated[int, typer.Option(min=0, help="Of arrivals and the order of images.")] = 0
    yes: Annotated[
        bool, typer.Option("--yes", help="Put a heavy load on another machine all the same.")
    ] = False
    idle: Idle = None
    busy: Annotated[Busy, typer.Option(help="What to do while another program measures here.")] = (
        Busy.WAIT
    )
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Every request, .parquet or .csv.")
    ] = None


@command(commands, "batch", "joulelab.cli.batching:run_batch")
@dataclass(frozen=True, kw_only=True)
class Batch(MeterOptions):
    """Find the batching policy with the fewest joules: measure batches here, then plan.

    Without a limit the fewest joules win, however long requests wait. Exit code 4: the limit cannot
    be held, or more arrives than can be answered.
    """

    model: Annotated[
        str | None,
        typer.Argument(
            metavar="MODEL",
            help="A network of torchvision, or your own module:factory from the current folder.",
        ),
    ] = None
    rate: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PER_S",
            help="Requests per second; several with commas, or repeated. Poisson arrivals, or "
            "those of --arrivals at this rate.",
        ),
    ] = None
    arrivals: Annotated[str | None, ARRIVALS] = None
    p99: P99 = None
    p95: Annotated[str | None, typer.Option(metavar="TIME", help="Likewise for 95 of 100.")] = None
    p50: Annotated[str | None, typer.Option(metavar="TIME", help="Likewise for 50 of 100.")] = None
    policy: Annotated[
        list[str] | None,
        typer.Option(metavar="POLICY", help='One more policy, as "fixed(8, 50)"; repeatable.'),
    ] = None
    replicas: Annotated[
        int, typer.Option(min=1, metavar="N", help="Servers that share each rate.")
    ] = 1
    fleet: Annotated[
        str | None,
        typer.Option(
            metavar="PER_S", help="How many servers a rate like 100000 needs, with their power."
        ),
    ] = None
    patience: Annotated[
        str, typer.Option(metavar="TIME", help="For measuring, such as 60s or 5min.")
    ] = "60s"
    largest: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Largest batch to try.")
    ] = None
    images: Annotated[str, typer.Option(help="photographs, folder:PATH, or a data set.")] = (
        "photographs"
    )
    ready: Annotated[
        bool, typer.Option("--ready", help="Serve prepared tensors instead of images.")
    ] = False
    crop: Annotated[
        int | None,
        typer.Option(
            min=1, metavar="PIXELS", help="Side of the model's input; as published where not given."
        ),
    ] = None
    weights: Annotated[
        str, typer.Option(help="auto, random, pretrained, or a name of torchvision.")
    ] = "auto"
    device: Annotated[str, typer.Option(help="auto, cpu, cuda, or cuda:INDEX.")] = "auto"
    threads: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Of torch on the CPU; else all cores."),
    ] = None
    table: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Plan from a saved table; nothing is run."),
    ] = None
    save: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Keep the measured table, JSON.")
    ] = None
    seed: Annotated[
        int, typer.Option(min=0, help="Of arrivals, images and the order of measuring.")
    ] = 0
    data_dir: DataDir = None
