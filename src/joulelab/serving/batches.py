"""Batches of one size, one after the other: what a batch takes, without a queue."""

from __future__ import annotations

import time

import numpy as np
import torch

from joulelab.errors import ServingError
from joulelab.serving.images import CHANNELS, ImageFiles, UnreadableImageError
from joulelab.serving.queue_memory import SharedMemory
from joulelab.serving.results import Batches
from joulelab.serving.served_model import ServedModel
from joulelab.serving.tasks import BatchTask
from joulelab.serving.window import BatchBuffer


def run_batches(
    task: BatchTask, model: ServedModel, device: torch.device, memory: SharedMemory
) -> Batches:
    """Answer batches until the time is over.

    Args:
        task: what to do; a batch that does not fit in memory is halved, and what was measured
            before is forgotten.
        model: that answers.
        device: of the model.
        memory: where the number of batches is shown.

    Raises:
        ServingError: the model fails, or none of the images can be read.
    """
    model.clear_remarks()
    batches = _DrawnBatches(task, device) if task.with_images else _ReadyBatches(task, device)
    rows: list[tuple[float, float, float]] = []
    began_s, size = time.monotonic(), model.largest_of(task.size)
    while not _enough(task, len(rows), time.monotonic() - began_s):
        started_s = time.monotonic()
        images = batches.make(size)
        prepare_s = time.monotonic() - started_s
        parts = list(model.answer(images))
        if len(parts) == 1:
            rows.append((parts[0].answered_s - started_s, parts[0].model_s, prepare_s))
            memory.done = len(rows)
            time.sleep(rows[-1][0] * (1 / task.load - 1))
        else:
            rows.clear()
            began_s, size = time.monotonic(), model.largest_of(task.size)
    durations_s, model_s, prepared_s = np.array(rows).T
    remarks = tuple(model.remarks)
    return Batches(size, task.size, durations_s, model_s, prepared_s, batches.unreadable, remarks)


def _enough(task: BatchTask, batches: int, elapsed_s: float) -> bool:
    if batches < task.least_batches:
        return False
    return batches >= task.most_batches or elapsed_s >= task.seconds


class _ReadyBatches:
    """Random numbers that lie ready on the device."""

    unreadable = 0

    def __init__(self, task: BatchTask, device: torch.device) -> None:
        side = task.images.crop
        self._images = torch.rand(task.size, CHANNELS, side, side, device=device)

    def make(self, size: int) -> torch.Tensor:
        return self._images[:size]


class _DrawnBatches:
    """Images that are drawn, decoded and prepared for each batch."""

    def __init__(self, task: BatchTask, device: torch.device) -> None:
        self._buffer = BatchBuffer(task.size, task.images, pinned=device.type == "cuda")
        self._read = ImageFiles(task.images.files).read
        self._generator = task.images.generator(task.seed)
        self._readable = list(range(len(task.images.files)))
        self.unreadable = 0

    def make(self, size: int) -> torch.Tensor:
        row = 0
        while row < size:
            if not self._readable:
                raise ServingError("none of the images can be read", "name files of images")
            position = self._readable[int(self._generator.integers(len(self._readable)))]
            try:
                self._buffer.fill(row, self._read(position), prepared=False)
            except UnreadableImageError:
                self._readable.remove(position)
                self.unreadable += 1
            else:
                row += 1
        return self._buffer.images[:size]
