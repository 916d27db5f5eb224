"""Commands that predict the energy of a training."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from joulelab.cli.options import (
    DataDir,
    DeviceColumn,
    Domains,
    Json,
    Plugins,
    PowerColumns,
    RowInterval,
    TimeColumn,
    TraceTimezone,
    Where,
)

commands = typer.Typer()
predict = typer.Typer(
    name="predict",
    help="Predict the energy of a training, before or while it runs.",
    no_args_is_help=True,
)
commands.add_typer(predict)


@predict.command()
def step(  # noqa: PLR0913, PLR0917 - an option of the command each
    trace: Annotated[
        Path,
        typer.Argument(metavar="TRACE", help="Power trace of the training so far, Parquet or CSV."),
    ],
    epochs_done: Annotated[
        float | None,
        typer.Option("--epochs-done", metavar="K", help="Number of epochs in the trace."),
    ] = None,
    epochs: Annotated[
        float | None,
        typer.Option("--epochs", metavar="N", help="Number of epochs of the whole training."),
    ] = None,
    duration: Annotated[
        float | None,
        typer.Option(
            "--duration",
            metavar="SECONDS",
            help="Duration of the whole training, instead of epochs.",
        ),
    ] = None,
    domain: Domains = None,
    where: Where = "",
    time: TimeColumn = "",
    power: PowerColumns = None,
    device: DeviceColumn = "",
    timezone: TraceTimezone = None,
    interval: RowInterval = None,
    fine_tuning: Annotated[
        bool,
        typer.Option(
            "--fine-tuning", help="The training starts with a frozen base and unfreezes it later."
        ),
    ] = False,
    json: Json = False,
) -> None:
    """Predict the energy of a whole training from its power so far, with a 95 % interval.

    TRACE is a file of `joulelab record`, a log that `joulelab trace` reads, or any table with times
    and watts. It must start with the training.
    """
    from joulelab.cli.predicting_step import Whole, print_step

    print_step(
        trace,
        Whole(epochs_done, epochs, duration),
        settings={
            "where": where,
            "time_column": time,
            "power_column": power or [],
            "device": device,
            "timezone": timezone or "",
            "interval_s": interval,
        },
        domains=domain or [],
        fine_tuning=fine_tuning,
        as_json=json,
    )


@predict.command()
def before(  # noqa: PLR0913, PLR0917 - an option of the command each
    network: Annotated[
        str,
        typer.Argument(
            metavar="NETWORK", help="resnet18, a registered network, or your module:function."
        ),
    ],
    dataset: Annotated[
        str,
        typer.Option("--dataset", metavar="NAME", help="cifar10, digits?channels=3&side=32 ..."),
    ],
    epochs: Annotated[int, typer.Option("--epochs", metavar="N", help="Number of epochs.")],
    batch_size: Annotated[
        int, typer.Option("--batch-size", metavar="B", help="Images per step.")
    ] = 512,
    train_images: Annotated[
        float | None,
        typer.Option(
            "--train-images", metavar="N", help="Number of training images, or a share below 1."
        ),
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option("--option", metavar="KEY=VALUE", help="Option of the network; repeatable."),
    ] = None,
    base: Annotated[
        str | None, typer.Option("--base", help="Base of torchvision networks: trained or frozen.")
    ] = None,
    head: Annotated[
        str | None, typer.Option("--head", help="Head of torchvision networks: linear or xu2023.")
    ] = None,
    engine: Annotated[str, typer.Option("--engine", help="Training engine.")] = "reference",
    precision: Annotated[
        str, typer.Option("--precision", help="Arithmetic: fp32, tf32 or bf16.")
    ] = "fp32",
    protocol: Annotated[str, typer.Option("--protocol", help="Training protocol.")] = "default",
    together: Annotated[
        int,
        typer.Option(
            "--together", metavar="N", help="Number of trainings that run together as a group."
        ),
    ] = 1,
    device: Annotated[
        str,
        typer.Option(
            "--device", metavar="NAME", help="auto, cpu, cuda:0, or hardware of stored runs: H200."
        ),
    ] = "auto",
    threads: Annotated[
        int | None,
        typer.Option("--threads", metavar="N", help="CPU threads; default: one per core."),
    ] = None,
    from_: Annotated[
        list[Path] | None,
        typer.Option(
            "--from",
            metavar="DIR",
            help="Results folders to learn from; default: joulelab-out; repeatable.",
        ),
    ] = None,
    duration: Annotated[
        str | None, typer.Option("--duration", metavar="TIME", help="Duration, if known: 2h.")
    ] = None,
    tdp: Annotated[
        float | None,
        typer.Option("--tdp", metavar="WATTS", help="Thermal design power of the device."),
    ] = None,
    usage: Annotated[
        float,
        typer.Option(
            "--usage", metavar="SHARE", help="Utilisation of the device, for Green Algorithms."
        ),
    ] = 1.0,
    data_dir: DataDir = None,
    plugin: Plugins = None,
    json: Json = False,
) -> None:
    """Predict the energy of a training before it starts, from your stored runs.

    Shows a regression on runs of the same hardware, cross-validated by configuration, and two
    formulas: design power x time, and Green Algorithms.
    """
    from joulelab.cli.predicting_before import Asked, print_before

    asked = Asked(
        network=network,
        options=option or [],
        base=base,
        head=head,
        dataset=dataset,
        train_images=train_images,
        epochs=epochs,
        batch_size=batch_size,
        engine=engine,
        precision=precision,
        protocol=protocol,
        together=together,
        device=device,
        threads=threads,
        folders=from_,
        duration=duration,
        tdp_w=tdp,
        usage=usage,
        data_dir=data_dir,
        plugins=plugin or [],
    )
    print_before(asked, as_json=json)
