"""The picture of a power trace: watts over seconds, a line a domain."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from joulelab import formats
from joulelab.energy.tape import Floats
from joulelab.errors import TraceError
from joulelab.report.style import WIDTH_IN, looks, styled


def power_trace(columns: Mapping[str, Any], title: str = "") -> Figure:
    """Power by domain over time, each value standing until the next one, as it is integrated.

    Where a domain has a counter and power, power is drawn: it is finer. Of a counter, the mean
    power since the sample before is drawn.

    Args:
        columns: as of `joulelab.energy.summary.trace_columns`.
        title: above the picture.
    """
    times, power = np.asarray(columns["t_s"], float), np.asarray(columns["power_w"], float)
    domains, sources = np.asarray(columns["domain"]), np.asarray(columns["source"])
    counts = ~np.isnan(np.asarray(columns["energy_j"], float))
    drawn = looks(dict.fromkeys(map(str, domains)))
    with styled():
        figure = Figure(figsize=(WIDTH_IN, 3.2), layout="constrained")
        axes = figure.subplots()
        for domain, look in drawn.items():
            own = domains == domain
            if (own & ~counts).any():
                own &= ~counts
            source = sources[own][0] if own.any() else ""
            counter = bool((own & counts).any())
            mean_w = _mean_w(times[own], power[own], counter=counter)
            axes.step(
                times[own],
                power[own],
                where="pre" if counter else "post",
                color=look.colour,
                linestyle=look.dash,
                linewidth=1.3,
                label=f"{domain} ({source}), mean {formats.watts(mean_w)}",
            )
        axes.set_xlabel("time since the opening (s)")
        axes.set_ylabel("power (W)")
        axes.set_ylim(bottom=0)
        axes.margins(x=0)
        axes.grid(axis="y")
        axes.set_title(title)
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=2)
    return figure


def write_power_trace(path: Path, columns: Mapping[str, Any], title: str = "") -> None:
    """Draw a power trace into a file, as PNG, SVG or PDF by the end of its name.

    Args:
        path: where to.
        columns: as for `power_trace`.
        title: above the picture.

    Raises:
        TraceError: the file cannot be written.
    """
    figure = power_trace(columns, title)
    try:
        figure.savefig(path, dpi=150)
    except OSError as error:
        raise TraceError(
            f"{path} cannot be written: {error.strerror or error}", "name another file"
        ) from error


def _mean_w(times: Floats, power: Floats, *, counter: bool) -> float | None:
    steps_s = np.diff(times)
    stood = power[1:] if counter else power[:-1]
    known = ~np.isnan(stood)
    if not known.any():
        return None
    return float(np.dot(stood[known], steps_s[known]) / steps_s[known].sum())
