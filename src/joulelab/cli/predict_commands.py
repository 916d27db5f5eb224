"""Commands that predict the energy of a training, before it begins or while it runs."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import typer

from joulelab.cli.options import (
    DataDir,
    Domains,
    Json,
    Plugins,
    TraceOptions,
    argument,
    command,
    epilog,
    option,
)

commands = typer.Typer()
predict = typer.Typer(
    name="predict",
    help="Predict the energy of a training, before or while it runs.",
    no_args_is_help=True,
    epilog=epilog(
        "joulelab predict step power.csv --epochs-done 3 --epochs 50",
        "joulelab predict before resnet18 --dataset cifar10 --epochs 50 --duration 2h",
    ),
)
commands.add_typer(predict)


@command(
    predict,
    "step",
    "joulelab.cli.predicting:run_step",
    example="joulelab predict step power.csv --epochs-done 3 --epochs 50",
)
@dataclass(frozen=True, kw_only=True)
class Step(TraceOptions):
    """Predict the energy of a whole training from its power so far, with a 95 % interval.

    TRACE is a file of `joulelab record`, a log that `joulelab trace` reads, or any table with times
    and watts. It must start with the training.
    """

    trace: Path = argument(..., "Power trace of the training so far, Parquet or CSV.")
    epochs_done: float | None = option(None, "Number of epochs in the trace.", "K")
    epochs: float | None = option(None, "Number of epochs of the whole training.", "N")
    duration: float | None = option(
        None, "Duration of the whole training, instead of epochs.", "SECONDS"
    )
    domain: Domains = None
    fine_tuning: bool = option(
        False, "The training starts with a frozen base and unfreezes it later."
    )
    json: Json = False


@command(
    predict,
    "before",
    "joulelab.cli.predicting:run_before",
    example="joulelab predict before resnet18 --dataset cifar10 --epochs 50 --duration 2h",
)
@dataclass(frozen=True, kw_only=True)
class Before:
    """Predict the energy of a training before it starts, from your stored runs.

    Shows a regression on runs of the same hardware, cross-validated by configuration, and two
    formulas: design power x time, and Green Algorithms.
    """

    network: str = argument(..., "resnet18, a registered network, or your module:function.")
    dataset: str = option(..., "cifar10, digits?channels=3&side=32 ...", "NAME")
    epochs: int = option(..., "Number of epochs.", "N")
    batch_size: int = option(512, "Images per step.", "B")
    train_images: float | None = option(None, "Number of training images, or a share below 1.", "N")
    option_: list[str] | None = option(None, "Option of the network; repeatable.", "KEY=VALUE")
    base: str | None = option(None, "Base of torchvision networks: trained or frozen.")
    head: str | None = option(None, "Head of torchvision networks: linear or xu2023.")
    engine: str = option("reference", "Engine that trains it.")
    precision: str = option("fp32", "Arithmetic: fp32, tf32 or bf16.")
    protocol: str = option("default", "Training protocol.")
    together: int = option(1, "Number of trainings in a group, which share its cost.", "N")
    device: str = option(
        "auto", "auto, cpu, cuda:0, or hardware of stored runs, such as H200.", "NAME"
    )
    threads: int | None = option(None, "CPU threads; default: one per core.", "N")
    from_: list[Path] | None = option(
        None, "Results folders to learn from; default: joulelab-out; repeatable.", "DIR"
    )
    duration: str | None = option(None, "Duration, if known, such as 2h.", "TIME")
    tdp: float | None = option(None, "Thermal design power of the device.", "WATTS")
    usage: float = option(1.0, "Used share of design power, for Green Algorithms.", "SHARE")
    data_dir: DataDir = None
    plugin: Plugins = None
    json: Json = False
