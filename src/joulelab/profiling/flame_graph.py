"""A profile as a page with a flame graph, which needs no other file.

Each function stands below its caller, as wide as its share of the energy::

    |              all               |
    |          <module>              |
    | load |         train           |
           |   step    |  evaluate   |
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from joulelab import formats
from joulelab.errors import StoreWriteError
from joulelab.present import html
from joulelab.profiling.result import MODULE, Call, Function, Profile
from joulelab.profiling.shown import profile_answer, profile_remarks, profile_tables

LEAST = 0.001
"""Calls with a smaller share are not drawn."""
ALL = Function("all")


@dataclass(frozen=True)
class Box:
    """A function in the graph.

    Attributes:
        name: of the function.
        kind: ``"own"``, ``"library"`` or ``"unseen"``.
        depth: 0 for the whole.
        left: in percent of the width.
        width: likewise.
        said: what it took, in words.
    """

    name: str
    kind: str
    depth: int
    left: float
    width: float
    said: str


def write_flame_graph(profile: Profile, path: Path) -> None:
    """Write the page.

    Args:
        profile: what it is of.
        path: of the page.

    Raises:
        StoreWriteError: the file cannot be written.
    """
    write_text(path, flame_graph(profile))


def flame_graph(profile: Profile) -> str:
    """The page.

    Args:
        profile: what it is of.
    """
    boxes = list(_boxes(profile))
    known = profile.energy_j is not None
    return html.rendered(
        "flame",
        title=profile.measurement.label or "Energy by function",
        answer=profile_answer(profile),
        quantity="energy" if known else "time",
        calls=boxes,
        depth=max(box.depth for box in boxes) + 1,
        left_out=formats.share(LEAST),
        parts=[*profile_tables(profile), *profile_remarks(profile)],
    )


def write_text(path: Path, text: str) -> None:
    """Write a file that the user has named.

    Args:
        path: of the file.
        text: its contents.

    Raises:
        StoreWriteError: it cannot be written.
    """
    try:
        path.write_text(text, "utf-8")
    except OSError as error:
        reason = error.strerror or str(error)
        raise StoreWriteError(f"{path} cannot be written: {reason}", "give another file") from error


def _boxes(profile: Profile) -> Iterator[Box]:
    whole = profile.calls.total or 1.0
    rest: list[tuple[Call, int, float]] = [(profile.calls, 0, 0.0)]
    while rest:
        call, depth, left = rest.pop()
        function = ALL if depth == 0 else call.function
        kind = "own" if function.is_own else "library" if function.file else "unseen"
        share = call.total / whole if profile.calls.total else 1.0
        said = _said(function, call, share, profile)
        yield Box(_label(function), kind, depth, round(100 * left, 4), round(100 * share, 4), said)
        for one in call.calls:
            if one.total / whole >= LEAST:
                rest.append((one, depth + 1, left))
            left += one.total / whole


def _label(function: Function) -> str:
    """The name of a function; of the top level of a file, that of the file."""
    path = Path(function.file)
    if function.name != MODULE:
        return function.name
    return f"{path.parent.name}/{path.name}" if path.stem.startswith("__") else path.name


def _said(function: Function, call: Call, share: float, profile: Profile) -> str:
    amount = formats.duration if profile.energy_j is None else formats.joules
    said = f"{function}: {amount(call.total)}, {formats.percent(share)}"
    if call.calls and call.size:
        said += f"; {amount(call.size)} in itself"
    gpu_j = sum(call.domains_j.get(domain, 0.0) for domain in profile.devices)
    if gpu_j:
        said += f", {amount(gpu_j)} of it by the GPU"
    return said
