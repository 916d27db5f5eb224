"""``joulelab predict before``: the energy of a training that has not begun."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table

from joulelab import formats
from joulelab.cli.durations import parse_duration_s
from joulelab.cli.options import OUTPUT_FOLDER
from joulelab.cli.output import data_console, print_json
from joulelab.errors import UsageError, quoted, suggestion
from joulelab.forecast.before import BeforePrediction, Estimate, predict_before, too_few
from joulelab.forecast.hardware import Hardware, design_power
from joulelab.forecast.history import Selection, read_history, results_folders
from joulelab.forecast.training_request import TrainingRequest, data_shape
from joulelab.learning.engine import Precision, engines
from joulelab.learning.networks import TORCHVISION, verify_buildable
from joulelab.learning.protocol import protocols
from joulelab.learning.zoo import network_source
from joulelab.registry import load_plugin
from joulelab.study.key_locations import override_value

_DEVICE_OF_TORCH = re.compile(r"auto|cpu|cuda(:\d+)?")
MOST_NAMED = 4
USELESS = 100.0
"""How far apart, as a factor, the ends of an interval are that says nothing."""
_BYTES = ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"))


@dataclass(frozen=True)
class Asked:
    """What the user has written, as it was written."""

    network: str
    options: Sequence[str]
    base: str | None
    head: str | None
    dataset: str
    train_images: float | None
    epochs: int
    batch_size: int
    engine: str
    precision: str
    protocol: str
    together: int
    device: str
    threads: int | None
    folders: Sequence[Path] | None
    duration: str | None
    tdp_w: float | None
    usage: float
    data_dir: Path | None
    plugins: Sequence[Path]

    def request(self) -> TrainingRequest:
        """The training.

        Raises:
            UsageError: an impossible number, or an unknown name.
            TrainingError: the network does not fit the images.
        """
        for name, value in (
            ("--epochs", self.epochs),
            ("--batch-size", self.batch_size),
            ("--together", self.together),
            ("--threads", 1 if self.threads is None else self.threads),
        ):
            if value < 1:
                raise UsageError(f"{name} {value} is not possible", "a number of at least 1")
        if self.train_images is not None and not self.train_images > 0:
            raise UsageError(
                f"--train-images {self.train_images:g} is not possible",
                "a number of at least 1, or a share below 1",
            )
        if self.precision not in tuple(Precision):
            raise UsageError(
                f"there is no precision {quoted(self.precision)}",
                suggestion(self.precision, map(str, Precision)),
            )
        for registry, name in ((engines, self.engine), (protocols, self.protocol)):
            registry.get(name)
        network, options = self._network()
        data = data_shape(self.dataset, self.data_dir).with_images(self.train_images)
        verify_buildable(network, data.shape, data.classes, options)
        return TrainingRequest(
            network=network,
            options=options,
            dataset=self.dataset,
            data=data,
            epochs=self.epochs,
            batch_size=self.batch_size,
            engine=self.engine,
            precision=self.precision,
            protocol=self.protocol,
            together=self.together,
        )

    def _network(self) -> tuple[str, dict[str, Any]]:
        network, options = network_source(self.network)
        for name, value in (("base", self.base), ("head", self.head)):
            if value is not None and network != TORCHVISION:
                raise UsageError(
                    f"--{name} is for torchvision's networks, and {self.network} is none",
                    f"leave out --{name}",
                )
        if network == TORCHVISION:
            # Weights cost nothing to train with, whichever they are: the same run is found again.
            options |= {"weights": "auto", "base": self.base or "trained"}
            options |= {"head": self.head or "linear"}
        for written in self.options:
            key, equals, value = written.partition("=")
            if not equals or not key:
                raise UsageError(
                    f"--option {quoted(written)} is no option", "write it as key=value"
                )
            options[key.strip()] = override_value(value.strip(), f"--option {key.strip()}")
        return network, options


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


def print_before(asked: Asked, *, as_json: bool) -> None:
    """Print what a training will take.

    Args:
        asked: by the user.
        as_json: JSON instead of a table.
    """
    for file in asked.plugins:
        load_plugin(file)
    duration_s = None
    if asked.duration is not None:
        duration_s = parse_duration_s(asked.duration, "--duration")
    request = asked.request()
    selection = stored_on(asked.device, asked.folders, asked.threads)
    found = predict_before(
        request,
        selection,
        design_power(selection.hardware, asked.tdp_w),
        duration_s=duration_s,
        usage=asked.usage,
    )
    if as_json:
        print_json(found.to_dict())
        return
    console = data_console()
    for line in _heading(asked.network, found):
        console.print(line, markup=False, soft_wrap=True)
    if found.estimates:
        console.print(_table(found))
    for line in remarks(found):
        console.print(line, markup=False, soft_wrap=True)


def remarks(found: BeforePrediction) -> Iterator[str]:
    """What a reader of the prediction should know.

    Args:
        found: the prediction.
    """
    if one := found.prediction:
        error = f", {formats.percent(one.mape)} off in cross-validation" if one.mape else ""
        between = formats.joules_range(one.low_j, one.high_j)
        net = "net" if found.selection.net else "gross"
        yield f"prediction: {formats.joules(one.energy_j)} {net} ({between}), {one.method}{error}"
    else:
        yield f"no regression: {too_few(found.stored)}"
    if found.seen:
        runs = formats.count(found.seen.runs, "time")
        yield (
            f"this very training was run {runs}: {formats.joules(found.seen.energy_j)} in "
            f"{formats.duration(found.seen.duration_s)}"
        )
    yield from _far(found)
    if left_out := found.left_out:
        told = "; ".join(f"{count:,} {reason}" for reason, count in left_out.items())
        yield f"stored runs left out: {told}"
    if found.power is None:
        yield "the design power of this hardware is unknown here; give --tdp for the two formulas"
    elif found.duration_s is None:
        yield "without a regression the two formulas need --duration"
    else:
        yield f"design power {formats.watts(found.power.power_w)} ({found.power.source})"


def _far(found: BeforePrediction) -> Iterator[str]:
    """Where the training lies outside of what was seen, and whether anything is known there."""
    if found.outside:
        more = len(found.outside) - MOST_NAMED
        rest = f" and {more} more" if more > 0 else ""
        named = "; ".join(map(str, found.outside[:MOST_NAMED]))
        yield f"warning: beyond what was seen: {named}{rest}"
    one = found.prediction
    if one and one.low_j and one.high_j and one.high_j > USELESS * one.low_j:
        yield (
            "warning: the stored runs say next to nothing of this training; run a small one, or "
            "let `joulelab plan` time some steps of it"
        )


def _heading(network: str, found: BeforePrediction) -> Iterator[str]:
    request, memory = found.request, found.memory
    yield (
        f"{network} on {request.dataset}: {formats.count(request.epochs, 'epoch')} of "
        f"{request.data.train_images:,} images, {formats.count(request.steps, 'step')} of "
        f"{request.batch_size}"
    )
    yield (
        f"{formats.operations(found.flops)}, {memory.parameters:,} trainable parameters, "
        f"{_bytes(memory.total)} a step"
    )
    if found.stored.runs:
        runs = formats.count(found.stored.runs, "stored run")
        yield f"from {runs} of {formats.count(found.stored.groups, 'configuration')}"
        yield f"on {found.selection.hardware}: {found.selection.counts}"
    else:
        yield f"no stored runs on {found.selection.hardware}"


def _table(found: BeforePrediction) -> Table:
    table = Table(box=SIMPLE_HEAD, pad_edge=False, padding=(0, 1))
    table.add_column("method", no_wrap=True)
    for name in ("energy", "95 % interval", "duration", "CV error"):
        table.add_column(name, justify="right", no_wrap=True)
    for one in found.estimates:
        table.add_row(*_cells(one), style="bold" if one.method == found.taken else None)
    return table


def _cells(one: Estimate) -> list[str]:
    interval = formats.DASH
    if one.low_j is not None:
        interval = formats.joules_range(one.low_j, one.high_j)
    return [
        one.method,
        formats.joules(one.energy_j),
        interval,
        formats.duration(one.duration_s),
        formats.percent(one.mape),
    ]


def _bytes(count: int) -> str:
    size, unit = next(((s, u) for s, u in _BYTES if count >= s), (1.0, "B"))
    return f"{formats.significant(count / size)} {unit}"
