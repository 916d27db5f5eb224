"""Commands that predict the energy of a training, before it begins or while it runs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from joulelab.cli.options import DataDir, Domains, Json, Plugins, TraceOptions, command

commands = typer.Typer()
predict = typer.Typer(
    name="predict",
    help="Predict the energy of a training, before it begins or while it runs.",
    no_args_is_help=True,
)
commands.add_typer(predict)


@command(predict, "step", "joulelab.cli.predicting:run_step")
@dataclass(frozen=True, kw_only=True)
class Step(TraceOptions):
    """Predict the energy of a whole training from its power so far, with a 95 % interval.

    TRACE is what `joulelab record` has written, a log that `joulelab trace` reads, or any table
    with times and watts; it begins where the training does.
    """

    trace: Annotated[
        Path, typer.Argument(metavar="TRACE", help="Power of the training so far: Parquet or CSV.")
    ]
    epochs_done: Annotated[float | None, typer.Option(metavar="K", help="Epochs in the trace.")] = (
        None
    )
    epochs: Annotated[
        float | None, typer.Option(metavar="N", help="Epochs of the whole training.")
    ] = None
    duration: Annotated[
        float | None,
        typer.Option(metavar="SECONDS", help="Of the whole training, in place of epochs."),
    ] = None
    domain: Domains = None
    fine_tuning: Annotated[
        bool,
        typer.Option("--fine-tuning", help="It begins with a frozen base, and thaws it later."),
    ] = False
    json: Json = False


@command(predict, "before", "joulelab.cli.predicting:run_before")
@dataclass(frozen=True, kw_only=True)
class Before:
    """Predict the energy of a training that has not begun, from your own stored runs.

    A regression on the runs of the same hardware, cross-validated by configuration, beside two
    formulas: design power times time, and that of Green Algorithms.
    """

    network: Annotated[
        str,
        typer.Argument(
            metavar="NETWORK", help="resnet18, a registered network, or your module:function."
        ),
    ]
    dataset: Annotated[
        str, typer.Option(metavar="NAME", help="cifar10, digits?channels=3&side=32 ...")
    ]
    epochs: Annotated[int, typer.Option(metavar="N", help="Of the training.")]
    batch_size: Annotated[int, typer.Option(metavar="B", help="Images in a step.")] = 512
    train_images: Annotated[
        float | None, typer.Option(metavar="N", help="Number of images, or a share below 1.")
    ] = None
    option: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY=VALUE", help="An option of the network; repeatable."),
    ] = None
    base: Annotated[
        str | None, typer.Option(help="Of torchvision's networks: trained or frozen.")
    ] = None
    head: Annotated[
        str | None, typer.Option(help="Of torchvision's networks: linear or xu2023.")
    ] = None
    engine: Annotated[str, typer.Option(help="Engine that trains it.")] = "reference"
    precision: Annotated[str, typer.Option(help="fp32, tf32 or bf16.")] = "fp32"
    protocol: Annotated[str, typer.Option(help="Conventions of the training.")] = "default"
    together: Annotated[
        int, typer.Option(metavar="N", help="Trainings in a group, which share its cost.")
    ] = 1
    device: Annotated[
        str,
        typer.Option(
            metavar="NAME", help="auto, cpu, cuda:0, or hardware of stored runs, such as H200."
        ),
    ] = "auto"
    threads: Annotated[
        int | None, typer.Option(metavar="N", help="On this machine's CPU; else one a core.")
    ] = None
    from_: Annotated[
        list[Path] | None,
        typer.Option(
            "--from", metavar="DIR", help="Results to learn from; else joulelab-out; repeatable."
        ),
    ] = None
    duration: Annotated[
        str | None, typer.Option(metavar="TIME", help="Where it is known, such as 2h.")
    ] = None
    tdp: Annotated[
        float | None, typer.Option(metavar="WATTS", help="Design power of the device.")
    ] = None
    usage: Annotated[
        float, typer.Option(metavar="SHARE", help="Of design power, for Green Algorithms.")
    ] = 1.0
    data_dir: DataDir = None
    plugin: Plugins = None
    json: Json = False
