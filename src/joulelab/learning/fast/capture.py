"""Training steps captured once as a CUDA graph and then replayed.

::

    order (N, images) ── position ──►  rows (N, B)  ──►  step  ──►  position + B
          └ copied in at the start of an epoch; the rest happens on the device

The host only queues replays: a step costs it a few microseconds, and it never waits. The last,
shorter batch of an epoch is a separate graph. A step that cannot be captured, because it waits
for the device or for another reason, is queued operation by operation, and the log says so.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from joulelab.learning.training_loop import is_out_of_memory

log = logging.getLogger("joulelab")

WARM_UP_STEPS = 2
"""Warm-up steps before the capture, in which libraries choose algorithms and allocate memory."""


class Capture:
    """Replays steps.

    Args:
        step: one step on the images of these rows, (N, B), which gives the losses, (N,). It reads
            and changes only tensors with fixed addresses.
    """

    def __init__(self, step: Callable[[Tensor], Tensor]) -> None:
        self._step = step
        self._replays: dict[int, Callable[[], Tensor]] = {}
        self._order: Tensor | None = None
        self._position: Tensor | None = None

    def run(
        self,
        order: Tensor,
        batch: int,
        steps: int,
        learnt: Callable[[], Sequence[Tensor]],
        on_step: Callable[[Tensor], None] | None = None,
        before_step: Callable[[int], None] = lambda _: None,
    ) -> None:
        """Queue the steps of an epoch.

        Args:
            order: rows of all images, (N, images), on the device.
            batch: images of a step, and of one member.
            steps: number of steps; the last may be smaller.
            learnt: returns all existing tensors that a step changes.
            on_step: called with the losses of every step, (N,).
            before_step: called with the number of every step; may queue work on the device.
        """
        if self._order is None or self._position is None:
            self._order = torch.empty_like(order)
            self._position = torch.zeros((), dtype=torch.int64, device=order.device)
        self._order.copy_(order)
        images = order.shape[1]
        sizes = [min(batch, images - start) for start in range(0, steps * batch, batch)]
        for size in sorted(set(sizes), reverse=True):
            if size not in self._replays:
                self._replays[size] = self._captured(size, learnt)
        self._position.zero_()
        for number, size in enumerate(sizes):
            before_step(number)
            losses = self._replays[size]()
            if on_step is not None:
                on_step(losses.clone())

    def _captured(self, size: int, learnt: Callable[[], Sequence[Tensor]]) -> Callable[[], Tensor]:
        """Capture a step without changing the state of training."""
        assert self._order is not None
        device = self._order.device
        stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        stream.wait_stream(torch.cuda.current_stream(device))
        with torch.cuda.stream(stream):
            kept = {tensor.data_ptr(): tensor.detach().clone() for tensor in learnt()}
            for _ in range(WARM_UP_STEPS):
                self._advance(size)
        torch.cuda.current_stream(device).wait_stream(stream)
        torch.cuda.empty_cache()  # the graph has its own memory
        graph = torch.cuda.CUDAGraph()
        losses: Tensor | None = None
        try:
            with torch.cuda.graph(graph):
                losses = self._advance(size)
        except RuntimeError as error:
            if is_out_of_memory(error):
                raise
            log.warning("a step cannot be captured, and will be slower: %s", error)
        with torch.no_grad():
            for tensor in learnt():
                # Tensors created by the first step, such as moments, start at 0.
                before = kept.get(tensor.data_ptr())
                tensor.zero_() if before is None else tensor.copy_(before)
        if losses is None:
            return lambda: self._advance(size)
        return _replay_of(graph, losses)

    def _advance(self, size: int) -> Tensor:
        assert self._order is not None
        assert self._position is not None
        # Warm-up may need more images than exist, and then starts over.
        places = self._position + torch.arange(size, device=self._order.device)
        losses = self._step(self._order.index_select(1, places % self._order.shape[1]))
        self._position += size
        return losses


def _replay_of(graph: torch.cuda.CUDAGraph, losses: Tensor) -> Callable[[], Tensor]:
    def replay() -> Tensor:
        graph.replay()
        return losses

    return replay
