"""``joulelab predict``: the energy of a training, before it begins or from its trace so far."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from joulelab import formats
from joulelab.analysis.prediction.step import FINE_TUNING, StepPrediction, predict_step
from joulelab.analysis.prediction.traces import PowerTrace
from joulelab.cli.options import OUTPUT_FOLDER, parse_duration_s, parse_pairs
from joulelab.cli.output import show
from joulelab.cli.predict_commands import Before, Step
from joulelab.energy.measurement import Measurement
from joulelab.energy.sample_buffer import ChannelSamples, Floats
from joulelab.energy.traces.recording import Recording, read_recording
from joulelab.errors import TraceError, UsageError, quoted, suggestion
from joulelab.forecast.before import BeforePrediction, predict_before, too_few
from joulelab.forecast.hardware import Hardware, design_power
from joulelab.forecast.history import Selection, read_history, results_folders
from joulelab.forecast.training_request import TrainingRequest, data_shape
from joulelab.learning.engine import Precision, engines
from joulelab.learning.networks import TORCHVISION, verify_buildable
from joulelab.learning.protocol import protocols
from joulelab.learning.zoo import network_source
from joulelab.present import Column, Part, Remark, Table, View, words
from joulelab.study.key_locations import override_value

_DEVICE_OF_TORCH = re.compile(r"auto|cpu|cuda(:\d+)?")
MOST_NAMED = 4
USELESS = 100.0
"""Ratio of the ends of an interval above which it says nothing."""
BYTES = ((1e9, 1e9, "GB"), (1e6, 1e6, "MB"), (1e3, 1e3, "kB"), (0.0, 1.0, "B"))
UNCERTAIN = 0.1
"""Probability of a change still to come above which a remark warns of it."""


def run_before(asked: Before) -> None:
    """Predict the energy of a training before it starts.

    Args:
        asked: the options of the command.

    Raises:
        UsageError: an impossible number, or an unknown name.
        TrainingError: the network does not fit the images.
    """
    duration_s = None
    if asked.duration is not None:
        duration_s = parse_duration_s(asked.duration, "--duration")
    request = _request(asked)
    selection = stored_on(asked.device, asked.from_, asked.threads)
    found = predict_before(
        request,
        selection,
        design_power(selection.hardware, asked.tdp),
        duration_s=duration_s,
        usage=asked.usage,
    )
    show(View(_parts_before(asked.network, found), found.to_dict), as_json=asked.json)


def stored_on(device: str, folders: Sequence[Path] | None, threads: int | None = None) -> Selection:
    """The stored runs of this machine's hardware, or of other hardware that they name.

    Args:
        device: as torch names it, or a part of the name of hardware.
        folders: results folders, and folders of them; where ``None``, all in ``joulelab-out``.
        threads: of torch on this machine's CPU; one for each core where ``None``.

    Raises:
        SpecError: torch has no such device.
        UsageError: a folder that was named does not exist, or no stored run is of such hardware.
    """
    if folders is None:
        folders = [OUTPUT_FOLDER] if OUTPUT_FOLDER.is_dir() else []
    stores = results_folders(folders)
    if _DEVICE_OF_TORCH.fullmatch(device):
        here = Hardware.here(device, threads)
        return read_history(stores, here).of(here)
    history = read_history(stores)
    return history.of(history.named(device))


def _request(asked: Before) -> TrainingRequest:
    """The training that the options describe."""
    _check_request(asked)
    network, options = _network(asked)
    data = data_shape(asked.dataset, asked.data_dir).with_images(asked.train_images)
    verify_buildable(network, data.shape, data.classes, options)
    return TrainingRequest(
        network=network,
        options=options,
        dataset=asked.dataset,
        data=data,
        epochs=asked.epochs,
        batch_size=asked.batch_size,
        engine=asked.engine,
        precision=asked.precision,
        protocol=asked.protocol,
        together=asked.together,
    )


def _check_request(asked: Before) -> None:
    for name in ("epochs", "batch_size", "together", "threads"):
        value = getattr(asked, name)
        if value is not None and value < 1:
            raise UsageError(
                f"--{name.replace('_', '-')} {value} is not possible", "a number of at least 1"
            )
    if asked.train_images is not None and not asked.train_images > 0:
        raise UsageError(
            f"--train-images {asked.train_images:g} is not possible",
            "a number of at least 1, or a share below 1",
        )
    if asked.precision not in tuple(Precision):
        raise UsageError(
            f"unknown precision {quoted(asked.precision)}",
            suggestion(asked.precision, map(str, Precision)),
        )
    engines.get(asked.engine)
    protocols.get(asked.protocol)


def _network(asked: Before) -> tuple[str, dict[str, Any]]:
    network, options = network_source(asked.network)
    for name, value in (("base", asked.base), ("head", asked.head)):
        if value is not None and network != TORCHVISION:
            raise UsageError(
                f"--{name} is for torchvision's networks, and {asked.network} is not one",
                f"leave out --{name}",
            )
    if network == TORCHVISION:
        # Weights cost nothing to train with, whichever they are: the same run is found again.
        options |= {"weights": "auto", "base": asked.base or "trained"}
        options |= {"head": asked.head or "linear"}
    for key, value in parse_pairs(asked.option_, "--option").items():
        options[key] = override_value(value, f"--option {key}")
    return network, options


def _parts_before(network: str, found: BeforePrediction) -> list[Part]:
    """The prediction, remarks, the training, the methods side by side, and their basis."""
    rows = [{**asdict(one), "taken": one.method == found.taken} for one in found.estimates]
    columns = [
        words("method", bold="taken"),
        Column("energy", "energy_j", formats.joules, bold="taken"),
        Column(
            "95 % interval",
            ("low_j", "high_j"),
            formats.or_dash(formats.joules_range),
            bold="taken",
        ),
        Column("duration", "duration_s", formats.duration, bold="taken"),
        Column("CV error", "mape", formats.percent, bold="taken"),
    ]
    return [
        _prediction(found),
        *map(Remark, _doubts(found)),
        *_training(network, found),
        *([Table(rows, columns)] if rows else ()),
        *_basis(found),
    ]


def _prediction(found: BeforePrediction) -> str:
    one = found.prediction
    if one is None:
        return f"no regression: {too_few(found.stored)}"
    error = f", {formats.percent(one.mape)} off in cross-validation" if one.mape else ""
    between = formats.joules_range(one.low_j, one.high_j)
    net = "net" if found.selection.net else "gross"
    return f"prediction: {formats.joules(one.energy_j)} {net} ({between}), {one.method}{error}"


def _doubts(found: BeforePrediction) -> Iterator[str]:
    """Where the training lies outside the stored runs, and whether the prediction is useful."""
    if found.outside:
        more = len(found.outside) - MOST_NAMED
        rest = f" and {more} more" if more > 0 else ""
        named = "; ".join(map(str, found.outside[:MOST_NAMED]))
        yield f"warning: beyond what was seen: {named}{rest}"
    one = found.prediction
    if one and one.low_j and one.high_j and one.high_j > USELESS * one.low_j:
        yield (
            "warning: the stored runs hardly predict this training; run a small one, or let "
            "`joulelab plan` time some steps of it"
        )


def _training(network: str, found: BeforePrediction) -> Iterator[str]:
    """The predicted training."""
    request, memory = found.request, found.memory
    size, unit = formats.scale(memory.total, BYTES)
    yield (
        f"{network} on {request.dataset}: {formats.count(request.epochs, 'epoch')} of "
        f"{request.data.train_images:,} images, {formats.count(request.steps, 'step')} of "
        f"{request.batch_size}"
    )
    yield (
        f"{formats.operations(found.flops)}, {memory.parameters:,} trainable parameters, "
        f"{formats.significant(memory.total / size)} {unit} a step"
    )


def _basis(found: BeforePrediction) -> Iterator[str]:
    """The stored runs and the design power behind the methods."""
    if found.stored.runs:
        runs = formats.count(found.stored.runs, "stored run")
        yield f"from {runs} of {formats.count(found.stored.groups, 'configuration')}"
        yield f"on {found.selection.hardware}: {found.selection.counts}"
    else:
        yield f"no stored runs on {found.selection.hardware}"
    if found.seen:
        runs = formats.count(found.seen.runs, "time")
        yield (
            f"this very training was run {runs}: {formats.joules(found.seen.energy_j)} in "
            f"{formats.duration(found.seen.duration_s)}"
        )
    if left_out := found.left_out:
        told = "; ".join(f"{count:,} {reason}" for reason, count in left_out.items())
        yield f"stored runs left out: {told}"
    if found.power is None:
        yield "the design power of this hardware is unknown here; give --tdp for the two formulas"
    elif found.duration_s is None:
        yield "without a regression the two formulas need --duration"
    else:
        yield f"design power {formats.watts(found.power.power_w)} ({found.power.source})"


@dataclass(frozen=True)
class Predicted:
    """The prediction for one channel of a trace."""

    samples: ChannelSamples
    prediction: StepPrediction

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        channel = self.samples.channel
        return {"domain": channel.domain, "source": channel.source, **asdict(self.prediction)}

    def doubt(self) -> str:
        """Why the prediction may be far off; empty where it is sound."""
        domain, one = self.samples.channel.domain, self.prediction
        if one.stable_s is None:
            return (
                f"{domain}: no stable part was seen yet; "
                "the prediction is little more than a guess."
            )
        if one.change_ahead > UNCERTAIN:
            return (
                f"{domain}: the power may still change when the base is unfrozen "
                f"({formats.percent(one.change_ahead, 0)}); later the interval is narrower."
            )
        return ""


def run_step(asked: Step) -> None:
    """Show the predicted energy of a training, one row per channel of its trace.

    Args:
        asked: the options of the command.

    Raises:
        UsageError: the length of the training is not given or impossible, or there is no domain
            of that name.
        TraceError: the trace cannot be read, or it is too short.
    """
    recording = read_recording(asked.trace, **asked.settings)
    seen_s = recording.end_s - recording.start_s
    duration_s = whole_duration_s(asked, seen_s)
    change = FINE_TUNING if asked.fine_tuning else None
    measurement = recording.measure()
    found = []
    for samples, trace in _traces(asked.trace, recording, asked.domain or ()):
        one = predict_step(trace, duration_s - (seen_s - trace.duration_s), change)
        one = _with_holes(one, samples, measurement, duration_s / seen_s)
        found.append(Predicted(samples, one))
    flags = (*_holes(measurement), *measurement.flags)
    show(_step_view(asked.trace, (seen_s, duration_s), found, flags), as_json=asked.json)


def _step_view(
    path: Path, lengths: tuple[float, float], found: Sequence[Predicted], flags: Sequence[str]
) -> View:
    """The predictions, one row per channel, and doubts about them."""
    seen, whole = map(formats.duration, lengths)
    rows = [one.to_dict() for one in found]
    doubts = [*filter(None, (one.doubt() for one in found)), *(f"note: {flag}" for flag in flags)]
    columns = [
        words("domain"),
        Column("whole training", "energy_j", formats.joules),
        Column("95 % interval", ("low_j", "high_j"), formats.joules_range),
        Column("so far", "seen_j", formats.joules),
        Column("to come", "level_w", formats.watts),
        Column("stable from", "stable_s", formats.or_dash(formats.duration)),
    ]
    return View(
        [Table(rows, columns, title=f"{path}: {seen} of {whole} seen"), *map(Remark, doubts)],
        {
            "file": str(path),
            "seen_s": lengths[0],
            "duration_s": lengths[1],
            "predictions": rows,
            "flags": list(flags),
        },
    )


def whole_duration_s(asked: Step, seen_s: float) -> float:
    """Seconds that the whole training takes.

    Args:
        asked: its epochs, or its duration.
        seen_s: seconds in the trace.

    Raises:
        UsageError: too little was given, or too much, or less than what is there already.
    """
    epochs = (asked.epochs_done, asked.epochs)
    given = [one for one in epochs if one is not None]
    if len(given) != (0 if asked.duration is not None else len(epochs)):
        raise UsageError(
            "give the length of the whole training exactly once",
            "either --epochs-done K --epochs N, or --duration SECONDS",
        )
    duration_s = asked.duration or 0.0
    if given:
        done, total = given
        if not 0 < done <= total < math.inf:
            raise UsageError(
                f"{done:g} of {total:g} epochs are done",
                "--epochs-done is above 0, and not above --epochs",
            )
        duration_s = seen_s * total / done
    if not seen_s <= duration_s < math.inf:
        raise UsageError(
            f"--duration {duration_s:g} is less than the {seen_s:g} s of the trace",
            "give the seconds of the whole training",
        )
    return duration_s


def _traces(
    path: Path, recording: Recording, domains: Sequence[str]
) -> Iterator[tuple[ChannelSamples, PowerTrace]]:
    """The channels of some domains, or of all, and their power."""
    there = sorted({one.channel.domain for one in recording.channel_samples})
    unknown = [name for name in domains if name not in there]
    if unknown:
        raise UsageError(f"{path} has no domain {unknown[0]!r}", f"there are {', '.join(there)}")
    for samples in recording.channel_samples:
        domain = samples.channel.domain
        if domains and domain not in domains:
            continue
        try:
            yield samples, PowerTrace.of(samples.times_s, _power_w(samples))
        except UsageError as error:
            raise TraceError(f"{path}, {domain}: {error.message}", error.hint) from error


def _power_w(samples: ChannelSamples) -> Floats:
    """Power from each sample on; a counter counts the time before a sample."""
    power_w = samples.power_w()
    if samples.channel.kind == "counter" and len(power_w) > 1:
        return np.append(power_w[1:], power_w[-1])
    return power_w


def _with_holes(
    one: StepPrediction, samples: ChannelSamples, measurement: Measurement, times: float
) -> StepPrediction:
    """A prediction whose interval covers times without samples.

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
    """Estimated parts of the energy so far."""
    return [
        f"{reading.domain}: {reading.status}: {reading.reason}"
        for reading in measurement.readings
        if reading.lost_s
    ]
