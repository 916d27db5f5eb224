"""Commands about inference: which batching policy to run, and load on an HTTP server."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import typer

from joulelab.cli.energy_commands import Busy
from joulelab.cli.options import (
    DataDir,
    Idle,
    MeterOptions,
    Plugins,
    Quiet,
    argument,
    command,
    option,
)
from joulelab.cli.token_options import TokenOptions

commands = typer.Typer()

ARRIVALS = (
    "poisson(50), uniform-jitter(50, 0.2), bursty(50), trace(FILE.csv): requests per second, or "
    "their times.",
    "PROCESS",
)
P99 = ("Limit on the 99th percentile of response time, such as 200ms.", "TIME")


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


@command(
    commands,
    "load",
    "joulelab.cli.loading:run_load",
    example='joulelab load http://localhost:8000/ --arrivals "poisson(50)" --requests 3000',
    needs=("h11",),
)
@dataclass(frozen=True, kw_only=True)
class Load(TokenOptions, MeterOptions):
    """Send requests to your own HTTP server and measure this machine meanwhile.

    Each request is sent when due, however slow the server; rate and count are never exceeded. With
    --api openai, the server of a language model, and joules per token. Exit code 1: no request was
    answered; 4: some failed, or a limit was missed.
    """

    url: str = argument(..., "URL, http:// or https://.")
    arrivals: str = option(..., *ARRIVALS)
    requests: int = option(..., "Number of requests; never exceeded.", "N", min=1)
    image: Path | None = option(
        None,
        "File or folder of images to send; default: scikit-learn's two photographs.",
        "FILE",
    )
    method: Method = option(Method.POST, "HTTP method.")
    field: str = option("", "Send the file as this form field; default: as the body.", "NAME")
    header: list[str] | None = option(None, "Additional header; repeatable.", "NAME=VALUE")
    expect: Expected = option(
        Expected.ANYTHING, "With json, any other response body counts as a failure."
    )
    timeout: str | None = option(
        None,
        "Timeout per request, such as 500ms or 10s; default: 10s, 10min with --api openai.",
        "TIME",
    )
    p99: str | None = option(None, *P99)
    concurrency: int = option(
        256, "Maximum number of open requests, one connection each.", "N", min=1
    )
    warm_up: int = option(0, "Number of warm-up requests, not counted.", "N", min=0)
    seed: int = option(0, "Seed for arrivals, prompts and the order of images.", min=0)
    yes: bool = option(False, "Allow a heavy load on another machine.")
    idle: Idle = None
    busy: Busy = option(Busy.WAIT, "What to do if another program is measuring.")
    plugin: Plugins = None
    quiet: Quiet = False
    out: Path | None = option(None, "Write a table of all requests, .parquet or .csv.", "FILE")


@command(
    commands,
    "batch",
    "joulelab.cli.batching:run_batch",
    example="joulelab batch resnet18 --rate 50 --p99 200ms",
)
@dataclass(frozen=True, kw_only=True)
class Batch(MeterOptions):
    """Find the batching policy with the lowest energy: measure batches here, then plan.

    With --llm: how many sequences of a language model to decode together.

    Without a limit the lowest energy wins, however long requests wait. Exit code 4: the limit
    cannot be met, or requests arrive faster than they can be served.
    """

    model: str | None = argument(
        None, "A torchvision network, or your own module:factory from the current folder."
    )
    llm: str | None = option(
        None,
        "Plan a language model instead: a registered one, a folder with a causal model of Hugging "
        "Face, or module:factory.",
        "MODEL",
    )
    rate: list[str] | None = option(
        None,
        "Requests per second; several with commas, or repeated. Arrivals are Poisson, or "
        "--arrivals rescaled to this rate.",
        "PER_S",
    )
    arrivals: str | None = option(None, *ARRIVALS)
    p99: str | None = option(None, *P99)
    p95: str | None = option(None, "Limit on the 95th percentile.", "TIME")
    p50: str | None = option(None, "Limit on the median.", "TIME")
    input_tokens: int = option(128, "With --llm: tokens of each prompt.", "N", min=1)
    output_tokens: int = option(64, "With --llm: tokens of each answer.", "N", min=2)
    p99_first: str | None = option(
        None, "With --llm: limit on the 99th percentile of the time to the first token.", "TIME"
    )
    p99_token: str | None = option(
        None, "With --llm: limit on the 99th percentile of the time per token.", "TIME"
    )
    precision: str = option("float32", "With --llm: float32, bfloat16 or float16.", "NAME")
    policy: list[str] | None = option(
        None, 'Additional policy, such as "fixed(8, 50)"; repeatable.', "POLICY"
    )
    replicas: int = option(1, "Number of servers that share each rate.", "N", min=1)
    fleet: str | None = option(
        None, "Compute how many servers each rate needs, and their power.", "PER_S"
    )
    patience: str = option("60s", "Time budget for measuring, such as 60s or 5min.", "TIME")
    largest: int | None = option(None, "Largest batch size to try.", "N", min=1)
    quiet: Quiet = False
    verbose: bool = option(False, "Show all remarks.", short="-v")
    images: str = option("photographs", "photographs, folder:PATH, or a data set.")
    ready: bool = option(False, "Serve prepared tensors instead of images.")
    crop: int | None = option(
        None, "Input size of the model in pixels; default: as published.", "PIXELS", min=1
    )
    weights: str = option("auto", "auto, random, pretrained, or a torchvision name.")
    device: str = option("auto", "auto, cpu, cuda, or cuda:INDEX.")
    threads: int | None = option(None, "CPU threads of torch; default: all cores.", "N", min=1)
    table: Path | None = option(None, "Plan from a saved table, without measuring.", "FILE")
    save: Path | None = option(None, "Save the measured table as JSON.", "FILE")
    seed: int = option(0, "Seed for arrivals, images and the order of measuring.", min=0)
    data_dir: DataDir = None
    plugin: Plugins = None
