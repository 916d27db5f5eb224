"""Measuring a table of batches for ``joulelab batch``: device, meters, images, and what is told."""

from __future__ import annotations

import importlib.util
import re
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from joulelab.cli.signals import end_on_sigterm
from joulelab.energy.detection import open_recorder
from joulelab.energy.recorder import Recorder
from joulelab.errors import UsageError
from joulelab.kinds.inference.batch_table import READY, BatchTable
from joulelab.kinds.inference.executor import ServingJob
from joulelab.kinds.inference.images import PHOTOGRAPHS, RequestImages
from joulelab.kinds.inference.models import Model, find_model
from joulelab.kinds.inference.table_measuring import Patience, ServedAlone, TableMeasuring
from joulelab.serving.tasks import BatchTask, ImageSource
from joulelab.study.accounting import counted
from joulelab.study.device import available_threads, find_device
from joulelab.study.manifest import processor_model


@dataclass(frozen=True)
class Measured:
    """How batches are measured.

    Attributes:
        weights: of a network of torchvision.
        images: name of the images.
        ready: tensors lie ready instead.
        crop: side of what the model is given, in pixels; as published where ``None``.
        device: ``"auto"``, ``"cpu"`` or ``"cuda:<index>"``.
        threads: of torch on the CPU; as many as there are cores where ``None``.
        patience_s: how long it may take.
        largest: batch that is tried; ``None`` without a limit.
        meters: names of meters; ``None`` for all that work here.
        domains: that count; ``None`` for the automatic choice.
        interval_s: time between two samples.
        data_dir: where data sets lie.
    """

    weights: str = "auto"
    images: str = PHOTOGRAPHS
    ready: bool = False
    crop: int | None = None
    device: str = "auto"
    threads: int | None = None
    patience_s: float = 60.0
    largest: int | None = None
    meters: Sequence[str] | None = None
    domains: Sequence[str] | None = None
    interval_s: float = 0.1
    data_dir: Path | None = None


def measure_table(
    name: str, how: Measured, limit_s: float | None, seed: int, console: Console
) -> tuple[BatchTable, bool]:
    """Measure batches of a model on this machine.

    Args:
        name: of the model.
        how: they are measured.
        limit_s: of the response time, if any.
        seed: of images and order.
        console: where progress is shown.

    Returns:
        The table, and whether Ctrl-C came before its end.

    Raises:
        UsageError: there is no such model, device, meter or image.
        ServingError: the model fails.
        KeyboardInterrupt: Ctrl-C came before a batch of one image was measured.
    """
    model = find_model(name, how.weights)
    _check_module(model)
    crop = how.crop or model.crop
    resize = max(crop, round(model.resize * crop / model.crop))
    threads = how.threads or available_threads()
    end_on_sigterm()
    with ExitStack() as stack:
        images = RequestImages(how.data_dir, seed)
        stack.callback(images.close)
        source = ImageSource(images.files(how.images), resize, crop)
        task = BatchTask(model.source, source, 1, 0.0, with_images=not how.ready)
        task.check()
        recorder = stack.enter_context(open_recorder(how.meters, interval_s=how.interval_s))
        _check_domains(recorder, how.domains)
        tell = stack.enter_context(doing(console))
        tell("loading torch")
        device = find_device(how.device)
        executor = ServedAlone(recorder, device.domain, 0.0, tell)
        stack.callback(executor.close)
        measuring = TableMeasuring(
            executor,
            ServingJob("loading", device.name, threads, task),
            Patience(how.patience_s, how.largest, limit_s),
            lambda measurement: counted(measurement, how.domains, device.domain),
            tell,
            seed,
        )
        try:
            windows = measuring.run()
        except KeyboardInterrupt:
            console.print("interrupted before batch 1 was measured: nothing to plan from")
            raise
    table = BatchTable(
        model=name,
        weights=model.weights,
        machine=processor_model() if device.name == "cpu" else device.model,
        device=device.name,
        threads=threads,
        images=READY if how.ready else how.images,
        resize=resize,
        crop=crop,
        measured_at=time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        windows=windows.profiles,
        remarks=windows.remarks,
    )
    return table, windows.interrupted


@contextmanager
def doing(console: Console) -> Iterator[Callable[[str], None]]:
    """Says what is going on: in place on a terminal, else a line each.

    Args:
        console: on standard error.
    """
    if not console.is_terminal:
        yield lambda text: console.print(text, style="dim", markup=False, soft_wrap=True)
        return
    with console.status("", refresh_per_second=1) as status:
        yield status.update


def check_device(name: str) -> None:
    """Refuse what is no name of a device; whether it is there is seen later.

    Args:
        name: as the user wrote it.

    Raises:
        UsageError: it is none.
    """
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", name):
        raise UsageError(f"--device {name!r} is no device", "one of auto, cpu, cuda, cuda:INDEX")


def _check_module(model: Model) -> None:
    """Refuse a module that is not there before anything is started; it is not imported here."""
    if ":" not in model.name:
        return
    module = model.name.partition(":")[0]
    sys.path[:0] = [folder for folder in model.source.path if folder not in sys.path]
    try:
        found = importlib.util.find_spec(module) is not None
    except (ImportError, ValueError):
        found = False
    if not found:
        raise UsageError(
            f"the model {model.name!r}: there is no module {module} in {Path.cwd()}",
            "run this in the folder it lies in, or install its package",
        )


def _check_domains(recorder: Recorder, domains: Sequence[str] | None) -> None:
    readable = {channel.domain for channel in recorder.channels}
    for domain in domains or ():
        if domain not in readable:
            raise UsageError(
                f"--domain {domain} cannot be read here",
                f"readable: {', '.join(sorted(readable)) or 'nothing'}",
            )
