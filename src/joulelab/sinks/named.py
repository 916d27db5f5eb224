"""Sinks by name, as users write them, on the command line and in Python alike.

>>> [one.name for one in named_sinks(["run.csv", "prometheus:9400"])]
['run.csv', 'prometheus 127.0.0.1:9400']
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from joulelab.errors import UnknownNameError, UsageError, quoted
from joulelab.registry import Registry
from joulelab.sinks.sink import Sink

Named = str | Sink | Sequence[str | Sink]
"""What users give: a sink, by name and address or as an object, or several."""

sinks: Registry[Callable[[str], Sink]] = Registry(
    "sink",
    "joulelab.sinks",
    {
        "csv": ("joulelab.sinks.files:CsvSink", "a CSV file, a row each: run.csv"),
        "jsonl": ("joulelab.sinks.files:JsonlSink", "a file of JSON lines: run.jsonl"),
        "mlflow": ("joulelab.sinks.mlflow:MlflowSink", "a run of MLflow: mlflow:URI"),
        "otlp": (
            "joulelab.sinks.otlp:OtlpSink",
            "an OpenTelemetry collector, OTLP over HTTP: otlp:http://HOST:4318",
        ),
        "prometheus": (
            "joulelab.sinks.prometheus:PrometheusSink",
            "a page that Prometheus reads: prometheus:HOST:PORT",
        ),
        "tensorboard": (
            "joulelab.sinks.tensorboard:TensorboardSink",
            "an event file of TensorBoard: tensorboard:DIR",
        ),
        "wandb": ("joulelab.sinks.wandb:WandbSink", "an offline run of wandb: wandb:DIR"),
    },
)
"""Makes each sink from its address, the part after the colon."""

SUFFIXES = {".csv": "csv", ".jsonl": "jsonl"}


def named_sinks(to: Named | None) -> list[Sink]:
    """Make sinks; none is opened.

    Args:
        to: a file that ends in .csv or .jsonl, ``"NAME"`` or ``"NAME:ADDRESS"`` each, or sinks.

    Raises:
        MissingDependencyError: a sink needs a library that is not installed.
        UnknownNameError: nothing has that name.
        UsageError: the address is not one, or two sinks write to the same place.
    """
    single = isinstance(to, str | Sink) or not isinstance(to, Iterable)
    given: list[object] = [] if to is None else [to] if single else list(to)  # type: ignore[arg-type]
    made: list[Sink] = []
    for one in given:
        sink = _made(one) if isinstance(one, str) else one
        if not isinstance(sink, Sink):
            raise UsageError(
                f"{quoted(sink)} is not a sink", "give a name, such as run.csv, or a Sink"
            )
        if sink.target and sink.target in [other.target for other in made]:
            raise UsageError(f"two sinks write to {sink.target}", "leave out one of them")
        made.append(sink)
    return made


def split(text: str) -> tuple[str, str]:
    """Name and address of a sink as written; a file has the name of its format.

    Raises:
        UnknownNameError: it has no known name and no known suffix.
    """
    name, _, address = text.partition(":")
    if name in sinks.names():
        return name, address
    suffix = Path(text).suffix.casefold()
    if suffix in SUFFIXES:
        return SUFFIXES[suffix], text
    raise UnknownNameError("sink", text if suffix else name, [*sinks.names(), "FILE.csv"])


def _made(text: str) -> Sink:
    name, address = split(text)
    return sinks.get(name)(address)
