"""A causal model in the server process: prefills, steps, and parts of the same work.

The model has Hugging Face's interface: ``forward(input_ids, past_key_values, use_cache)`` (newer
transformers call the second one ``cache``) returns an object with ``logits`` (batch, tokens,
vocabulary) and the cache of keys and values. Where it takes ``logits_to_keep``, only the logits of
the last token are asked for, as in any server.
"""

from __future__ import annotations

import copy
import inspect
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from joulelab import formats
from joulelab.errors import ServingError, UsageError, one_line
from joulelab.serving.generation.tasks import (
    DECODE,
    PREFILL,
    Generated,
    GenerationTask,
    Part,
    PartTimes,
    Times,
)
from joulelab.serving.served_model import out_of_memory
from joulelab.serving.tasks import ModelSource

_CACHES = ("cache", "past_key_values")
_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")
_RESET_PEAK = "5"
"""See proc_pid_clear_refs(5): the peak resident size becomes the present one."""


class Generator:
    """A causal model on a device.

    Args:
        source: builds the model.
        precision: number format of its weights: ``"float32"``, ``"bfloat16"``, ``"float16"``.
        device: where it runs.

    Attributes:
        source: its source.
        precision: its number format.

    Raises:
        UsageError: the model cannot be imported or moved, or has not the interface.
        ServingError: the model cannot be built.
    """

    def __init__(self, source: ModelSource, precision: str, device: torch.device) -> None:
        self.source, self.precision = source, precision
        self._device = device
        self._model: nn.Module = source.load().eval()
        try:
            self._model.to(device=device, dtype=getattr(torch, precision))
        except RuntimeError as error:
            raise UsageError(
                f"the model {source} cannot be moved to {device}: {one_line(error)}",
                "choose an existing device with enough memory",
            ) from error
        taken = inspect.signature(self._model.forward).parameters
        self._cache = next((name for name in _CACHES if name in taken), "")
        if not self._cache or "input_ids" not in taken:
            raise UsageError(
                f"the model {source} has no causal interface: forward({', '.join(taken)})",
                "forward takes input_ids, past_key_values and use_cache, as Hugging Face's do",
            )
        self._last_only = {"logits_to_keep": 1} if "logits_to_keep" in taken else {}
        config = getattr(self._model, "config", None)
        self._vocabulary = getattr(config, "vocab_size", None)
        self._context = getattr(config, "max_position_embeddings", None)

    @property
    def parameters(self) -> int:
        """Number of parameters of the model."""
        return sum(parameter.numel() for parameter in self._model.parameters())

    def prompts(self, batch: int, tokens: int, seed: int) -> Tensor:
        """Random prompts on the device.

        Args:
            batch: how many.
            tokens: length of each.
            seed: of the draw.

        Returns:
            (batch, tokens), int64.

        Raises:
            UsageError: the model does not say how many tokens there are.
        """
        if not self._vocabulary:
            raise UsageError(
                f"the model {self.source} does not say how many tokens it knows",
                "give it config.vocab_size",
            )
        random = torch.Generator().manual_seed(seed)
        drawn = torch.randint(int(self._vocabulary), (batch, tokens), generator=random)
        return drawn.to(self._device)

    def check(self, task: GenerationTask) -> None:
        """Check that a task fits the model's context.

        Raises:
            UsageError: prompt and output are longer than the context.
        """
        tokens = task.prompt_tokens + task.output_tokens - 1
        if self._context and tokens > self._context:
            raise UsageError(
                f"{task.prompt_tokens} + {task.output_tokens} tokens are too long for the context "
                f"of {self.source}, {self._context}",
                "shorten the prompt or the output",
            )

    def prefill(self, prompts: Tensor) -> tuple[Tensor, Any]:
        """The first token of each sequence, and the cache.

        Args:
            prompts: (batch, tokens).

        Returns:
            (batch, 1) tokens, and the model's cache.
        """
        return self._next(input_ids=prompts)

    def step(self, tokens: Tensor, cache: Any) -> tuple[Tensor, Any]:  # noqa: ANN401 - model's own
        """The next token of each sequence.

        Args:
            tokens: (batch, 1), the last ones.
            cache: of all tokens before.

        Returns:
            (batch, 1) tokens, and the cache.
        """
        return self._next(input_ids=tokens, **{self._cache: cache})

    def _next(self, **inputs: Any) -> tuple[Tensor, Any]:  # noqa: ANN401 - the model's own
        batch, tokens = inputs["input_ids"].shape
        try:
            with torch.inference_mode():
                out = self._model(**inputs, use_cache=True, **self._last_only)
                following = out.logits[:, -1:].argmax(dim=-1)
            if self._device.type == "cuda":
                torch.cuda.synchronize(self._device)
        except Exception as error:
            what = formats.count(batch, "sequence") + (
                f" of {tokens:,} tokens" if tokens > 1 else ""
            )
            if out_of_memory(error):
                raise ServingError(
                    f"{what} do not fit in the memory of {self._device} next to the model "
                    f"{self.source} in {self.precision}",
                    "use smaller batches or shorter prompts",
                ) from error
            raise ServingError(
                f"the model {self.source} failed in {self.precision} on {what}: "
                f"{type(error).__name__}: {one_line(error)}",
                "call it directly with input_ids of this shape to see where",
            ) from error
        return following, next(
            (found for name in _CACHES if (found := getattr(out, name, None)) is not None), None
        )


class GenerationWindow:
    """The parts of one task; `warm_up` and `prepare` come before the window, `run` is the window.

    Args:
        generator: the model.
        task: what to do; it fits the context.
        device: of the model.
    """

    def __init__(self, generator: Generator, task: GenerationTask, device: torch.device) -> None:
        self._generator, self._task, self._device = generator, task, device
        self._prompts = generator.prompts(task.batch_size, task.prompt_tokens, task.seed)
        self._done = 0
        self._begin: tuple[Tensor, Any] | None = None
        self._grown = 0

    def prepare(self) -> None:
        """Warm up, and make the cache that steps alone begin with."""
        for _ in range(self._task.warm_up):
            self._generation([], np.empty(self._task.output_tokens - 1))
        if any(part.name == DECODE for part in self._task.parts):
            self._begin = self._generator.prefill(self._prompts)
            if self._begin[1] is None:
                raise UsageError(
                    f"the model {self._generator.source} returns no cache",
                    "let it return past_key_values where use_cache is true",
                )

    def run(self, show: Callable[[int], None]) -> Generated:
        """Carry out the parts.

        Args:
            show: called with the number of pieces of work done.
        """
        peak = _Peak(self._device)
        task = self._task
        parts = tuple(self._part(part, show) for part in task.parts)
        return Generated(
            task.batch_size,
            task.prompt_tokens,
            task.output_tokens,
            parts,
            self._generator.parameters,
            peak.bytes(),
        )

    def _part(self, part: Part, show: Callable[[int], None]) -> PartTimes:
        prefills: list[float] = []
        steps: list[Times] = []
        times, began_s = 0, time.monotonic()
        while times < part.least or time.monotonic() - began_s < part.seconds:
            step_s = np.empty(self._task.output_tokens - 1)
            if part.name == PREFILL:
                self._prefill(prefills)
            elif part.name == DECODE:
                self._steps(self._rewound(), step_s)
                steps.append(step_s)
            else:
                self._generation(prefills, step_s)
                steps.append(step_s)
            times += 1
            self._done += 1
            show(self._done)
        ended_s = time.monotonic()
        stacked = np.array(steps).reshape(len(steps), self._task.output_tokens - 1)
        return PartTimes(part.name, began_s, ended_s, np.array(prefills), stacked)

    def _generation(self, prefills: list[float], step_s: Times) -> None:
        self._steps(self._prefill(prefills), step_s)

    def _prefill(self, prefills: list[float]) -> tuple[Tensor, Any]:
        began_s = time.monotonic()
        made = self._generator.prefill(self._prompts)
        prefills.append(time.monotonic() - began_s)
        return made

    def _steps(self, begin: tuple[Tensor, Any], step_s: Times) -> None:
        tokens, cache = begin
        last_s = time.monotonic()
        for place in range(len(step_s)):
            tokens, cache = self._generator.step(tokens, cache)
            now_s = time.monotonic()
            step_s[place] = now_s - last_s
            last_s = now_s

    def _rewound(self) -> tuple[Tensor, Any]:
        """The first token and the cache of the prompt alone; a cache that cannot be cut is copied.

        The copy takes time and energy of a memory copy of the cache, once in T - 1 steps.
        """
        assert self._begin is not None, "made by prepare"
        tokens, cache = self._begin
        crop = getattr(cache, "crop", None)
        if crop is None or not getattr(cache, "is_croppable", True):
            return tokens, copy.deepcopy(cache)
        if self._grown:
            crop(-self._grown)  # so many tokens fewer
        self._grown = self._task.output_tokens - 1
        return tokens, cache


class _Peak:
    """The most memory in use since it was made.

    Args:
        device: of the model.
    """

    def __init__(self, device: torch.device) -> None:
        self._device, self._known = device, True
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
            return
        try:
            _CLEAR.write_text(_RESET_PEAK)
        except OSError:
            self._known = False

    def bytes(self) -> int | None:
        """The peak; ``None`` where the system does not say."""
        if self._device.type == "cuda":
            return int(torch.cuda.max_memory_allocated(self._device))
        if not self._known:
            return None
        with suppress(OSError, ValueError, StopIteration):
            lines = _STATUS.read_text().splitlines()
            peak = next(line for line in lines if line.startswith("VmHWM:"))
            return 1024 * int(peak.split()[1])
        return None


def missing_precision(precision: str, device: torch.device) -> str:
    """Why a precision cannot be used on a device; empty where its operators are there.

    Args:
        precision: of `tasks.PRECISIONS`.
        device: where a model would run.
    """
    one = torch.ones((1, 1, 2, 2), dtype=getattr(torch, precision), device=device)
    try:
        nn.functional.scaled_dot_product_attention(one @ one, one, one, is_causal=True)
        nn.functional.layer_norm(one, (2,)).argmax()
    except (RuntimeError, NotImplementedError) as error:
        return one_line(error)
    return ""
