"""``joulelab predict step``: the energy of a whole training from its trace so far."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from rich.box import SIMPLE_HEAD
from rich.table import Table

from joulelab import formats
from joulelab.analysis.prediction.step import FINE_TUNING, StepPrediction, predict_step
from joulelab.analysis.prediction.traces import PowerTrace
from joulelab.cli.output import data_console, print_json
from joulelab.energy.measurement import Measurement
from joulelab.energy.sample_buffer import ChannelSamples, Floats
from joulelab.energy.traces.recording import ReadSettings, Recording, read_recording
from joulelab.errors import TraceError, UsageError

UNCERTAIN = 0.1
"""Probability of a change still to come above which it is said."""


@dataclass(frozen=True)
class Whole:
    """How long the whole training takes, in one of two ways.

    Attributes:
        epochs_done: in the trace.
        epochs: of the whole.
        duration_s: of the whole, in place of both.
    """

    epochs_done: float | None = None
    epochs: float | None = None
    duration_s: float | None = None

    def duration_of(self, seen_s: float) -> float:
        """Seconds that the whole takes.

        Args:
            seen_s: seconds in the trace.

        Raises:
            UsageError: too little was given, or too much, or less than what is there already.
        """
        counted = self.epochs_done is not None and self.epochs is not None
        if counted == (self.duration_s is not None) or (
            not counted and (self.epochs_done is not None or self.epochs is not None)
        ):
            raise UsageError(
                "how long the whole training takes is not given, or twice",
                "give --epochs-done K --epochs N, or --duration SECONDS",
            )
        if self.epochs_done is None or self.epochs is None:
            duration_s = self.duration_s or 0.0
        elif not 0 < self.epochs_done <= self.epochs < math.inf:
            raise UsageError(
                f"{self.epochs_done:g} of {self.epochs:g} epochs are done",
                "--epochs-done is above 0, and not above --epochs",
            )
        else:
            duration_s = seen_s * self.epochs / self.epochs_done
        if not seen_s <= duration_s < math.inf:
            raise UsageError(
                f"--duration {duration_s:g} is less than the {seen_s:g} s of the trace",
                "give the seconds of the whole training",
            )
        return duration_s


def print_step(
    path: Path,
    whole: Whole,
    *,
    settings: ReadSettings,
    domains: Sequence[str],
    fine_tuning: bool,
    as_json: bool,
) -> None:
    """Print the predicted energy of a training, one row per channel of its trace.

    Args:
        path: of the trace so far.
        whole: how long the training takes.
        settings: how the file is read.
        domains: only these; all where empty.
        fine_tuning: whether a change of level is to be expected.
        as_json: JSON instead of a table.
    """
    recording = read_recording(path, **settings)
    seen_s = recording.end_s - recording.start_s
    duration_s = whole.duration_of(seen_s)
    change = FINE_TUNING if fine_tuning else None
    measurement = recording.measure()
    found = []
    for samples, trace in _traces(path, recording, domains):
        one = predict_step(trace, duration_s - (seen_s - trace.duration_s), change)
        found.append((samples, _with_holes(one, samples, measurement, duration_s / seen_s)))
    flags = (*_holes(measurement), *measurement.flags)
    if as_json:
        rows = [_data(samples, one) for samples, one in found]
        lengths = {"seen_s": seen_s, "duration_s": duration_s}
        print_json({"file": str(path), **lengths, "predictions": rows, "flags": list(flags)})
        return
    console = data_console()
    console.print(
        f"{path}: {formats.duration(seen_s)} of {formats.duration(duration_s)} seen",
        markup=False,
        soft_wrap=True,
    )
    console.print(_table(found))
    for line in (*remarks(found), *(f"note: {flag}" for flag in flags)):
        console.print(line, markup=False, soft_wrap=True)


def _with_holes(
    one: StepPrediction, samples: ChannelSamples, measurement: Measurement, times: float
) -> StepPrediction:
    """A prediction whose interval holds whatever was drawn while nobody looked.

    Both what was drawn so far and the level of the rest rest on it, so its bound counts as many
    `times` as the whole training is longer than the trace.
    """
    channel = samples.channel
    for reading in (*measurement.readings, *measurement.others):
        same = (reading.domain, reading.source) == (channel.domain, channel.source)
        if same and reading.lost_s and reading.gross_j is not None:
            more_j = reading.gross_j - one.seen_j
            bound_j = reading.gross_j if reading.error_j is None else reading.error_j
            reach_j = times * bound_j
            return replace(
                one,
                energy_j=one.energy_j + more_j,
                low_j=max(one.low_j + more_j - reach_j, 0.0),
                high_j=one.high_j + more_j + reach_j,
                seen_j=reading.gross_j,
            )
    return one


def _holes(measurement: Measurement) -> list[str]:
    """How much of what was drawn so far is an estimate."""
    return [
        f"{reading.domain}: {reading.status}: {reading.reason}"
        for reading in measurement.readings
        if reading.lost_s
    ]


def remarks(found: Sequence[tuple[ChannelSamples, StepPrediction]]) -> Iterator[str]:
    """What a reader of the predictions should know.

    Args:
        found: by channel.
    """
    for samples, one in found:
        domain = samples.channel.domain
        if one.stable_s is None:
            yield f"{domain}: no stable part was seen yet; the prediction is little but a guess."
        elif one.change_ahead > UNCERTAIN:
            yield (
                f"{domain}: the power may still change as the base thaws "
                f"({formats.percent(one.change_ahead, 0)}); later the interval is narrower."
            )


def _traces(
    path: Path, recording: Recording, domains: Sequence[str]
) -> list[tuple[ChannelSamples, PowerTrace]]:
    wanted = [
        one for one in recording.channel_samples if not domains or one.channel.domain in domains
    ]
    there = sorted({one.channel.domain for one in recording.channel_samples})
    unknown = [name for name in domains if name not in there]
    if unknown:
        raise UsageError(f"{path} has no domain {unknown[0]!r}", f"there are {', '.join(there)}")
    traces = []
    for samples in wanted:
        try:
            traces.append((samples, PowerTrace.of(samples.times_s, _power_w(samples))))
        except UsageError as error:
            raise TraceError(
                f"{path}, {samples.channel.domain}: {error.message}", error.hint
            ) from (error)
    return traces


def _power_w(samples: ChannelSamples) -> Floats:
    """Power from each sample on; what a counter has counted belongs to the time before a sample."""
    power_w = samples.power_w()
    if samples.channel.kind == "counter" and len(power_w) > 1:
        return np.append(power_w[1:], power_w[-1])
    return power_w


def _data(samples: ChannelSamples, one: StepPrediction) -> dict[str, Any]:
    return {"domain": samples.channel.domain, "source": samples.channel.source, **asdict(one)}


def _table(found: Sequence[tuple[ChannelSamples, StepPrediction]]) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
    table.add_column("domain", no_wrap=True)
    for name in ("whole training", "95 % interval", "so far", "to come", "stable from"):
        table.add_column(name, justify="right")
    for samples, one in found:
        table.add_row(
            samples.channel.domain,
            formats.joules(one.energy_j),
            formats.joules_range(one.low_j, one.high_j),
            formats.joules(one.seen_j),
            formats.watts(one.level_w),
            formats.DASH if one.stable_s is None else formats.duration(one.stable_s),
        )
    return table
