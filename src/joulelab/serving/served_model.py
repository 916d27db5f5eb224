"""The model in the server process: building, warm-up, and batches that fit in memory."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from joulelab.errors import ServingError, UsageError, one_line, quoted
from joulelab.serving.images import CHANNELS
from joulelab.serving.tasks import ModelSource

_OUT_OF_MEMORY = ("can't allocate memory", "not enough memory", "ALLOC_FAILED")


@dataclass(frozen=True)
class Part:
    """A batch that the model has answered.

    Attributes:
        size: images in it.
        model_s: time in the model, with the way to the device.
        answered_s: when it was done, on the monotonic clock.
    """

    size: int
    model_s: float
    answered_s: float


class ServedModel:
    """A model on a device.

    Args:
        source: builds the model.
        device: where it runs.

    Attributes:
        source: its source.
        limit: the largest batch that fits, if a larger one did not; else ``None``.
        remarks: events since `clear_remarks`.

    Raises:
        UsageError: the model cannot be imported, or the device cannot be used.
        ServingError: the model cannot be built.
    """

    def __init__(self, source: ModelSource, device: torch.device) -> None:
        self.source = source
        self.limit: int | None = None
        self.remarks: list[str] = []
        self._device = device
        self._module: nn.Module = source.load().eval()
        try:
            self._module.to(device)
        except RuntimeError as error:
            raise UsageError(
                f"the model {source} cannot be moved to {device}: {one_line(error)}",
                "choose an existing device with enough memory",
            ) from error

    @property
    def parameters(self) -> int:
        """Number of parameters of the model."""
        return sum(parameter.numel() for parameter in self._module.parameters())

    def largest_of(self, asked: int) -> int:
        """The batch size used for a requested one; a reduction is remarked."""
        if self.limit is None or asked <= self.limit:
            return asked
        self._remark(asked)
        return self.limit

    def warm_up(self, batches: int, size: int, side: int) -> None:
        """Answer batches of random numbers.

        Args:
            batches: how many.
            size: images in each.
            side: height and width of an image.
        """
        if batches and size:
            images = torch.rand(size, CHANNELS, side, side)
            for _ in range(batches):
                for _ in self.answer(images):
                    pass

    def answer(self, images: Tensor) -> Iterator[Part]:
        """Answer images, in several batches if one does not fit in memory.

        Args:
            images: (n, 3, S, S), in host memory or on the device.

        Raises:
            ServingError: the model raises, or a single image does not fit.
        """
        done = 0
        while done < len(images):
            size = self.largest_of(len(images) - done)
            started_s = time.monotonic()
            if self._forward(images[done : done + size]):
                answered_s = time.monotonic()
                yield Part(size, answered_s - started_s, answered_s)
                done += size
            else:
                self._halve(size)

    def clear_remarks(self) -> None:
        """Start a window: clear events."""
        self.remarks = []

    def _forward(self, images: Tensor) -> bool:
        """Whether the images fitted in memory."""
        try:
            with torch.inference_mode():
                self._module(images.to(self._device, non_blocking=True))
            self._synchronize()
        except Exception as error:
            if not out_of_memory(error):
                raise ServingError(
                    f"the model {self.source} failed on a batch of {len(images)}: "
                    f"{type(error).__name__}: {one_line(error)}",
                    f"call it with a tensor {tuple(images.shape)} directly to see where",
                ) from error
            return False
        return True

    def _halve(self, size: int) -> None:
        if size == 1:
            raise ServingError(
                f"a single image does not fit in the memory of {self._device} next to the model "
                f"{self.source}",
                "use a smaller model or a device with more memory",
            )
        if self._device.type == "cuda":
            torch.cuda.empty_cache()
        self.limit = size // 2
        self._remark(size)

    def _remark(self, size: int) -> None:
        remark = f"batches of {size} do not fit in memory: halved to {self.limit}"
        if remark not in self.remarks:
            self.remarks.append(remark)

    def _synchronize(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)


def usable_device(name: str) -> torch.device:
    """The device of a name.

    Raises:
        UsageError: it does not exist on this machine.
    """
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        first = str(error).splitlines()[0]
        raise UsageError(
            f"the device {quoted(name)} cannot be used: {first}",
            "choose cpu, or cuda:0 if there is one",
        ) from error
    return device


def out_of_memory(error: Exception) -> bool:
    """Whether an exception of torch says that memory is exhausted."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in _OUT_OF_MEMORY)
