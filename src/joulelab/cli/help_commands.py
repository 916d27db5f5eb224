"""Commands about joulelab itself: config and help."""

from __future__ import annotations

from dataclasses import dataclass

import typer

from joulelab.cli.options import Json, argument, command, option

commands = typer.Typer()


@command(
    commands,
    "config",
    "joulelab.cli.configuring:run_config",
    example="joulelab config carbon.place NLD",
)
@dataclass(frozen=True, kw_only=True)
class Config:
    """Show the settings of this machine, or set one.

    Without KEY, show all of them and where each comes from. With KEY, print its value; with KEY and
    VALUE, write it to the settings file. Keys: carbon.place, carbon.pue, limits.runs,
    limits.memory_gb, and meter.NAME.SETTING, such as meter.shelly.address.
    """

    key: str | None = argument(None, "A setting, with dots.")
    value: str | None = argument(None, "Its new value.")
    unset: bool = option(False, "Remove the setting.")
    json: Json = False


@command(commands, "help", "joulelab.cli.helping:run_help", example="joulelab help predict step")
@dataclass(frozen=True, kw_only=True)
class Help:
    """Show a guide, or the help of a command; without TOPIC, list the guides."""

    topic: list[str] | None = argument(None, "A guide, or a command.", "TOPIC")
