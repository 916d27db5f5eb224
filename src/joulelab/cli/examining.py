"""``joulelab doctor``: what can be measured here."""

from __future__ import annotations

from collections.abc import Sequence

from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table

from joulelab import formats
from joulelab.cli.output import data_console, print_json, progress_console
from joulelab.energy.diagnosis import Diagnosis, diagnose
from joulelab.settings import settings_path


def print_diagnosis(names: Sequence[str] | None, *, as_json: bool) -> None:
    """Print what can be read, what cannot, and the verdict.

    Args:
        names: only these meters; all that work here where not given.
        as_json: JSON instead of tables.
    """
    progress_console().print("measuring idle power for 2 s ...", style="dim")
    found = diagnose(names or None)
    if as_json:
        print_json(found.to_dict())
        return
    console = data_console()
    for name, value in found.machine.items():
        console.print(f"{name:10} {value}", markup=False, soft_wrap=True)
    installed = [f"{name} {version or '(none)'}" for name, version in found.libraries.items()]
    console.print(f"{'libraries':10} {', '.join(installed)}", markup=False, soft_wrap=True)
    console.print(f"{'settings':10} {_settings()}", markup=False, soft_wrap=True)
    console.print(_readable(found))
    for meter, described in found.meters.items():
        for key, value in described.items():
            console.print(f"{meter}: {key}: {value}", style="dim", markup=False, soft_wrap=True)
    if found.missing:
        console.print("\nnot readable", style="bold")
        for one in found.missing:
            console.print(f"  {one.domain}: {one.reason}", markup=False, soft_wrap=True)
            if one.remedy:
                console.print(f"    do: {one.remedy}", markup=False, soft_wrap=True)
    if found.unused:
        console.print("\nused only by name (--meter)", style="bold")
        for name, line in found.unused.items():
            console.print(f"  {name:12} {line}", markup=False, soft_wrap=True)
    console.print(f"\n{found.verdict}: {found.reason}", style="bold", markup=False, soft_wrap=True)


def _readable(found: Diagnosis) -> Table:
    table = Table(box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    for name in ("domain", "meter", "source", "kind", "status"):
        table.add_column(name)
    for name in ("new value every", "error", "power now"):
        table.add_column(name, justify="right")
    for one in found.findings:
        channel = one.channel
        table.add_row(
            channel.domain,
            escape(one.meter),
            escape(channel.source),
            channel.kind,
            str(channel.status),
            formats.duration(channel.tick_s) if channel.tick_s else formats.DASH,
            f"± {formats.percent(channel.relative_error, 0)}",
            formats.watts(one.power_w),
        )
    return table


def _settings() -> str:
    path = settings_path()
    return str(path) if path.is_file() else f"{path} (none)"
