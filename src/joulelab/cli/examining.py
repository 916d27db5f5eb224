"""``joulelab doctor``: what can be measured here."""

from __future__ import annotations

from collections.abc import Sequence

from joulelab import formats
from joulelab.cli.output import say
from joulelab.energy.diagnosis import Diagnosis, diagnose
from joulelab.present import Column, Facts, Part, Section, Table, View, words
from joulelab.settings import settings_path


def diagnosis(names: Sequence[str] | None) -> View:
    """What can be read, what cannot, and the verdict.

    Args:
        names: only these meters; all that work here where not given.
    """
    say("measuring idle power for 2 s ...", "dim")
    found = diagnose(names or None)
    libraries = [f"{name} {version or '(none)'}" for name, version in found.libraries.items()]
    parts: list[Part] = [
        f"{found.verdict}: {found.reason}",
        Facts(
            [
                *found.machine.items(),
                ("libraries", ", ".join(libraries)),
                ("settings", _settings()),
            ]
        ),
        _readable(found),
    ]
    parts += [
        f"{meter}: {key}: {value}"
        for meter, described in found.meters.items()
        for key, value in described.items()
    ]
    if found.missing:
        rows = [vars(one) for one in found.missing]
        columns = [words("domain"), words("reason"), words("do", "remedy")]
        parts.append(Table(rows, columns, title="Not readable"))
    if found.unused:
        parts.append(Section("Used only by name (--meter)", [Facts([*found.unused.items()])]))
    return View(parts, found.to_dict())


def _readable(found: Diagnosis) -> Table:
    rows = [
        {**vars(one.channel), "meter": one.meter, "power_w": one.power_w} for one in found.findings
    ]
    columns = [
        words("domain"),
        words("meter"),
        words("source"),
        words("kind"),
        words("status", form=str),
        Column("new value every", "tick_s", lambda s: formats.duration(s) if s else formats.DASH),
        Column("error", "relative_error", lambda share: f"± {formats.percent(share, 0)}"),
        Column("power now", "power_w", formats.watts),
    ]
    return Table(rows, columns, title="Readable")


def _settings() -> str:
    path = settings_path()
    return str(path) if path.is_file() else f"{path} (none)"
