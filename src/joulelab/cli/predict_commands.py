"""Commands that say what something will take before it is paid for."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from joulelab.cli.options import Domains, Json

commands = typer.Typer()
predict = typer.Typer(
    name="predict",
    help="What a training will take, before or while it runs.",
    no_args_is_help=True,
)
commands.add_typer(predict)


@predict.command()
def step(
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
    where: Annotated[
        str,
        typer.Option(
            "--where", metavar="COLUMN=VALUE", help="One of several recordings in the file."
        ),
    ] = "",
    fine_tuning: Annotated[
        bool,
        typer.Option("--fine-tuning", help="It begins with a frozen base, and thaws it later."),
    ] = False,
    json: Json = False,
) -> None:
    """Predict the energy of a whole training from its power so far, with a 95 % interval.

    TRACE is what `joulelab record` has written, a log of nvidia-smi, or any table with times and
    watts; it begins where the training does.
    """
    from joulelab.cli.predicting_step import Whole, print_step

    print_step(
        trace,
        Whole(epochs_done, epochs, duration),
        domains=domain or [],
        where=where,
        fine_tuning=fine_tuning,
        as_json=json,
    )
