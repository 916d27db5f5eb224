"""Generations to carry out, and their times: plain data for all processes.

A **generation** answers a batch of prompts of equal length with a given number of tokens::

    prompt ── prefill ──> token 1 ── step ──> token 2 ── step ──> ... ──> token T
             all tokens of           one token a sequence, with the cache of
             the prompts at once     keys and values of all tokens before

so that T tokens take one prefill and T - 1 steps. Prompts are random tokens, the next token is the
most likely one, and the token that ends a text is ignored: every generation has the same work.

What is measured is a `Part`: the same work again and again, for some seconds. A step is too short
for any power sensor, and a prefill often is too; a part is as long as it needs to be::

    prefill      prefills alone
    generation   whole generations
    decode       steps alone: T - 1 of them with the cache of a prompt, which is then cut back
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

import numpy as np
from numpy.typing import NDArray

from joulelab.errors import UsageError, quoted
from joulelab.serving.tasks import ModelSource, require_at_least

Name = Literal["prefill", "decode", "generation"]
PREFILL: Final = "prefill"
DECODE: Final = "decode"
GENERATION: Final = "generation"
PRECISIONS = {"float32": 4, "bfloat16": 2, "float16": 2}
"""Number formats of weights and cache, with their bytes."""

Times = NDArray[np.float64]


@dataclass(frozen=True)
class Part:
    """The same work again and again.

    Attributes:
        name: what is done.
        seconds: duration; the last piece of work is completed.
        least: minimum number of times.
    """

    name: Name
    seconds: float
    least: int = 3


@dataclass(frozen=True)
class GenerationTask:
    """Parts with one model, one after the other.

    Attributes:
        model: builds a causal model with Hugging Face's interface.
        precision: number format of its weights and its cache; a key of `PRECISIONS`.
        batch_size: sequences that are decoded together.
        prompt_tokens: length of each prompt.
        output_tokens: length of each answer; at least 2, so that there is a step.
        parts: what is done within the window.
        warm_up: generations before the window.
        seed: determines the prompts; 0 or more.
    """

    model: ModelSource
    precision: str
    batch_size: int
    prompt_tokens: int
    output_tokens: int
    parts: tuple[Part, ...]
    warm_up: int = 1
    seed: int = 0

    def check(self) -> None:
        """Check the task.

        Raises:
            UsageError: a number or a name is impossible.
        """
        require_at_least(1, batch_size=self.batch_size, prompt_tokens=self.prompt_tokens)
        require_at_least(2, output_tokens=self.output_tokens)
        require_at_least(0, warm_up=self.warm_up, seed=self.seed)
        if self.precision not in PRECISIONS:
            raise UsageError(
                f"precision {quoted(self.precision)} is unknown", f"one of: {', '.join(PRECISIONS)}"
            )
        if not self.parts:
            raise UsageError("a generation without parts", "give at least one")
        for part in self.parts:
            require_at_least(1, least=part.least)
            if not part.seconds >= 0:
                raise UsageError(f"seconds = {part.seconds} is not a duration", "give 0 or more")


@dataclass(frozen=True)
class PartTimes:
    """The times of a part.

    Attributes:
        name: of the part.
        began_s: on the monotonic clock, which the processes of a session share.
        ended_s: likewise.
        prefill_s: (n,) of each prefill, until its token is known; empty for steps alone.
        step_s: (n, T - 1) of each step; empty for prefills alone.
    """

    name: Name
    began_s: float
    ended_s: float
    prefill_s: Times
    step_s: Times

    @property
    def times(self) -> int:
        """How often the work was done."""
        return max(len(self.prefill_s), len(self.step_s))

    @property
    def duration_s(self) -> float:
        """From the beginning to the end."""
        return self.ended_s - self.began_s


@dataclass(frozen=True)
class Generated:
    """The outcome of a `GenerationTask`.

    Attributes:
        batch_size: sequences decoded together.
        prompt_tokens: length of each prompt.
        output_tokens: length of each answer.
        parts: in order.
        parameters: of the model.
        peak_bytes: most memory that was in use: of the GPU, or resident memory of the process;
            ``None`` where the system does not say.
    """

    batch_size: int
    prompt_tokens: int
    output_tokens: int
    parts: tuple[PartTimes, ...]
    parameters: int
    peak_bytes: int | None

    def part(self, name: Name) -> PartTimes:
        """The part of a name.

        Raises:
            KeyError: it was not asked for.
        """
        for one in self.parts:
            if one.name == name:
                return one
        raise KeyError(name)
