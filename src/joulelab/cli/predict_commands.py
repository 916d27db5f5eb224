"""Commands that say what something will take before it is paid for."""

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
    help="What a training will take, before or while it runs.",
    no_args_is_help=True,
)
commands.add_typer(predict)


@predict.command()
def step(  # noqa: PLR0913, PLR0917 - an option of the command each
    trace: Annotated[
        Path, typer.Argument(metavar="TRACE", help="Power of the training so far: Parquet or CSV.")
    ],
    epochs_done: Annotated[
        float | None, typer.Option("--epochs-done", metavar="K", help="Epochs in the trace.")
    ] = None,
    epochs: Annotated[
        float | None, typer.Option("--epochs", metavar="N", help="Epochs of the whole training.")
    ] = None,
    duration: Annotated[
        float | None,
        typer.Option(
            "--duration", metavar="SECONDS", help="Of the whole training, in place of epochs."
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
        typer.Option("--fine-tuning", help="It begins with a frozen base, and thaws it later."),
    ] = False,
    json: Json = False,
) -> None:
    """Predict the energy of a whole training from its power so far, with a 95 % interval.

    TRACE is what `joulelab record` has written, a log that `joulelab trace` reads, or any table
    with times and watts; it begins where the training does.
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
    epochs: Annotated[int, typer.Option("--epochs", metavar="N", help="Of the training.")],
    batch_size: Annotated[
        int, typer.Option("--batch-size", metavar="B", help="Images in a step.")
    ] = 512,
    train_images: Annotated[
        float | None,
        typer.Option("--train-images", metavar="N", help="So many of them, or a share below 1."),
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option(
            "--option", metavar="KEY=VALUE", help="An option of the network; may be repeated."
        ),
    ] = None,
    base: Annotated[
        str | None, typer.Option("--base", help="Of torchvision's networks: trained or frozen.")
    ] = None,
    head: Annotated[
        str | None, typer.Option("--head", help="Of torchvision's networks: linear or xu2023.")
    ] = None,
    engine: Annotated[str, typer.Option("--engine", help="That trains it.")] = "reference",
    precision: Annotated[str, typer.Option("--precision", help="fp32, tf32 or bf16.")] = "fp32",
    protocol: Annotated[
        str, typer.Option("--protocol", help="Conventions of the training.")
    ] = "default",
    together: Annotated[
        int, typer.Option("--together", metavar="N", help="Trainings in a group, which share it.")
    ] = 1,
    device: Annotated[
        str,
        typer.Option(
            "--device", metavar="NAME", help="auto, cpu, cuda:0, or hardware of stored runs: H200."
        ),
    ] = "auto",
    threads: Annotated[
        int | None,
        typer.Option("--threads", metavar="N", help="On this machine's CPU; else one a core."),
    ] = None,
    from_: Annotated[
        list[Path] | None,
        typer.Option(
            "--from", metavar="DIR", help="Results to learn from; else joulelab-out; repeatable."
        ),
    ] = None,
    duration: Annotated[
        str | None, typer.Option("--duration", metavar="TIME", help="Where it is known: 2h.")
    ] = None,
    tdp: Annotated[
        float | None, typer.Option("--tdp", metavar="WATTS", help="Design power of the device.")
    ] = None,
    usage: Annotated[
        float, typer.Option("--usage", metavar="SHARE", help="Of it, for Green Algorithms.")
    ] = 1.0,
    data_dir: DataDir = None,
    plugin: Plugins = None,
    json: Json = False,
) -> None:
    """Predict the energy of a training that has not begun, from your own stored runs.

    A regression on the runs of the same hardware, cross-validated by configuration, beside two
    formulas: design power times time, and that of Green Algorithms.
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
