"""Measure the costs of tokens by batch size and length, within a time budget.

::

    load ─ idle ─ climb: 1, 2, 4, 8 ... ─ round: (4, long) (1, short) ... ─ round: ... ─ idle
                   └ both lengths of each       └ a window of each batch size and length, in a
                     batch size, briefly; not     new order in every round: prefills, then steps
                     counted

The lengths are that of the prompts, and the longest at which the steps still end with the last
token. The climb ends at the largest requested batch size, when memory is exhausted, at the first
step that takes longer than the limit on the time per token, or if two windows of everything would
exceed the time budget.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from joulelab.energy.command import IDLE_TICKS
from joulelab.energy.measurement import Measurement
from joulelab.energy.phases import phase_energies
from joulelab.energy.reading import Status, Total
from joulelab.errors import ServingError
from joulelab.formats import count, duration
from joulelab.kinds.generation.executor import GenerationExecutor, GenerationJob
from joulelab.kinds.generation.token_table import TokenWindow
from joulelab.kinds.inference.table_measuring import (
    LEAST_IDLE_S,
    LEAST_ROUNDS,
    LEAST_WINDOW_S,
    LONGEST_WINDOW_S,
    MOST_ROUNDS,
    Alone,
    Patience,
    busy_remarks,
    idle_and_others,
)
from joulelab.serving.generation.simulation import Lengths
from joulelab.serving.generation.tasks import DECODE, PREFILL, Generated, Part
from joulelab.study.executor import Outcome

STEPS = 16
"""Most steps after a prompt; then its cache is cut back."""
MOST_TOGETHER = 64
"""Largest batch size without a request for another."""
_WINDOW_LENGTHS = (8, 4, 2, 1)
_AROUND_S = 0.1

Cell = tuple[int, int]
"""A batch size and a length of the prompts."""


class GeneratedAlone(GenerationExecutor, Alone[GenerationJob, Generated]):
    """Generates, and raises errors."""


@dataclass(frozen=True)
class TokenWindows:
    """The measurements.

    Attributes:
        windows: in order.
        sources: of their energies.
        remarks: what happened on the way.
        interrupted: interrupted by Ctrl-C.
    """

    windows: tuple[TokenWindow, ...]
    sources: tuple[str, ...]
    remarks: tuple[str, ...]
    interrupted: bool


class TokenMeasuring:
    """Measures prefills and steps of one model on one device.

    Args:
        executor: generates and measures.
        job: any generation of the model.
        lengths: of the requests.
        patience: how far measuring goes; its limit is on the time per token.
        total: the energy of a measurement.
        tell: called with progress messages.
        seed: of the order in each round.
    """

    def __init__(
        self,
        executor: GeneratedAlone,
        job: GenerationJob,
        lengths: Lengths,
        patience: Patience,
        total: Callable[[Measurement], Total],
        tell: Callable[[str], None],
        seed: int = 0,
    ) -> None:
        self._executor, self._job, self._patience = executor, job, patience
        self._total, self._tell = total, tell
        self._order = random.Random(seed)
        self._steps = min(STEPS, lengths.output - 1)
        longest = lengths.prompt + lengths.output - 1 - self._steps
        self._prompts = sorted({lengths.prompt, longest})
        self._least_s = min(max(IDLE_TICKS * executor.tick_s, LEAST_WINDOW_S), LONGEST_WINDOW_S)
        self._piece_s: dict[Cell, tuple[float, float]] = {}
        self._measured: list[Outcome[Generated]] = []
        self._remarks: list[str] = []
        self._others = 0.0
        self._ends_s = math.inf

    def run(self) -> TokenWindows:
        """Measure until done, the time budget ends, or Ctrl-C.

        Raises:
            UsageError: the model cannot be imported, or has not the interface.
            ServingError: it cannot be built, or it fails with one sequence.
            KeyboardInterrupt: Ctrl-C came before one sequence was measured.
        """
        idles: list[Mapping[str, float]] = []
        errors_w: list[Mapping[str, float]] = []
        interrupted = False
        try:
            self._tell("loading the model")
            self._executor.load(self._job)
            self._ends_s = time.monotonic() + self._patience.seconds
            idles.append(self._idle())
            errors_w.append(self._executor.idle_error_w)
            self._climb()
            self._rounds()
            idles.append(self._idle())
            errors_w.append(self._executor.idle_error_w)
        except KeyboardInterrupt:
            if not self._whole():
                raise
            interrupted = True
        whole = self._whole()
        before_w, after_w = idles[0], idles[-1]
        windows: list[TokenWindow] = []
        sources: list[str] = []
        for outcome in self._measured:
            if outcome.result is None or outcome.result.batch_size not in whole:
                continue
            measurement = outcome.measurement.with_idle(before_w, after_w, *errors_w)
            total = self._total(measurement)
            windows.append(self._window(replace(outcome, measurement=measurement), total))
            sources += total.sources
        self._remarks += busy_remarks(self._others)
        flags = [flag for one in self._measured for flag in one.measurement.flags]
        return TokenWindows(
            tuple(windows),
            tuple(dict.fromkeys(sources)),
            tuple(dict.fromkeys([*self._remarks, *flags])),
            interrupted,
        )

    def _whole(self) -> set[int]:
        """Batch sizes of which every length was measured."""
        there = {
            (one.result.batch_size, one.result.prompt_tokens)
            for one in self._measured
            if one.result is not None
        }
        return {batch for batch, _ in there if all((batch, one) in there for one in self._prompts)}

    def _idle(self) -> Mapping[str, float]:
        seconds = max(LEAST_IDLE_S, self._least_s)
        self._tell(f"measuring idle power for {duration(seconds)}")
        idle_w, others = idle_and_others(self._executor, seconds)
        self._others = max(self._others, others)
        return idle_w

    def _climb(self) -> None:
        """Try 1, 2, 4 ... sequences, briefly."""
        batch, limit_s = 1, self._patience.limit_s
        largest = self._patience.largest or MOST_TOGETHER
        while True:
            self._tell(f"trying {count(batch, 'sequence')} together")
            for prompt in self._prompts:
                outcome = self._run(batch, prompt, 0.0)
                if outcome is None or outcome.result is None:
                    self._forget(batch)
                    return
                prefill, decode = (outcome.result.part(name) for name in (PREFILL, DECODE))
                self._piece_s[batch, prompt] = (
                    float(prefill.prefill_s.mean()),
                    float(decode.step_s.sum(axis=1).mean()),
                )
            step_s = max(self._piece_s[batch, one][1] for one in self._prompts) / self._steps
            if batch >= largest or (limit_s is not None and step_s > limit_s):
                return
            following = min(2 * batch, largest)
            likely = {(following, p): self._likely(batch, following, p) for p in self._prompts}
            needed_s = sum(map(sum, likely.values())) * 2
            needed_s += LEAST_ROUNDS * self._round_s({**self._piece_s, **likely}, self._least_s)
            if needed_s > self._left_s:
                reaches = math.ceil(self._patience.seconds - self._left_s + needed_s)
                self._remarks.append(
                    f"patience ran out at {count(batch, 'sequence')} together: --patience "
                    f"{reaches} reaches {following}"
                )
                return
            batch = following

    def _likely(self, batch: int, following: int, prompt: int) -> tuple[float, float]:
        prefill_s, steps_s = self._piece_s[batch, prompt]
        return prefill_s * following / batch, steps_s * following / batch

    def _forget(self, batch: int) -> None:
        self._piece_s = {cell: s for cell, s in self._piece_s.items() if cell[0] != batch}

    def _rounds(self) -> None:
        """Measure a window of every batch size and length in each round, within the budget."""
        rounds, seconds = self._planned()
        for number in range(rounds):
            cells = list(self._piece_s)
            self._order.shuffle(cells)
            for place, cell in enumerate(cells):
                if number and self._round_s({cell: self._piece_s[cell]}, seconds) > self._left_s:
                    continue  # a slow machine: the plan no longer fits
                self._tell(
                    f"round {number + 1} of {rounds}: {count(cell[0], 'sequence')}, prompts of "
                    f"{cell[1]} ({place + 1} of {len(cells)}), at most "
                    f"{duration(max(self._left_s, 0.0))} left"
                )
                outcome = self._run(*cell, seconds, number)
                if outcome is None:
                    self._forget(cell[0])
                else:
                    self._measured.append(outcome)

    def _planned(self) -> tuple[int, float]:
        """The number of rounds, and the longest windows that fit twice."""
        for length in _WINDOW_LENGTHS:
            seconds = length * self._least_s
            if seconds > LONGEST_WINDOW_S:
                continue
            for rounds in range(MOST_ROUNDS, LEAST_ROUNDS - 1, -1):
                if rounds * self._round_s(self._piece_s, seconds) <= self._left_s:
                    return rounds, seconds
        return 1, self._least_s

    def _run(
        self, batch: int, prompt: int, seconds: float, seed: int = 0
    ) -> Outcome[Generated] | None:
        """Prefills and steps; ``None`` if they fail, which is an error for one sequence."""
        least = 2 if seconds else 1
        task = replace(
            self._job.task,
            batch_size=batch,
            prompt_tokens=prompt,
            output_tokens=self._steps + 1,
            parts=(Part(PREFILL, seconds, least), Part(DECODE, seconds, least)),
            warm_up=0 if seconds else 1,
            seed=seed,
        )
        job = replace(
            self._job, label=f"{count(batch, 'sequence')} of {count(prompt, 'token')}", task=task
        )
        try:
            self._executor.load(job)
            outcome = self._executor.run(job, lambda _: None)
            if outcome.state == "interrupted":
                raise KeyboardInterrupt
            if outcome.result is None:
                raise ServingError(
                    f"the model fails with {count(batch, 'sequence')}: {outcome.error}", ""
                )
        except ServingError as error:
            if batch == 1:
                raise
            self._remarks.append(f"{count(batch, 'sequence')} together left out: {error.message}")
            return None
        return outcome

    def _window(self, outcome: Outcome[Generated], total: Total) -> TokenWindow:
        assert outcome.result is not None, "only such are kept"
        made = outcome.result
        prefill, decode = made.part(PREFILL), made.part(DECODE)
        spans = [(one.name, one.began_s, one.ended_s) for one in made.parts]
        parts = phase_energies(spans, outcome.measurement, total, outcome.samples)
        idle_w = None
        if total.idle_j is not None and outcome.measurement.duration_s > 0:
            idle_w = total.idle_j / outcome.measurement.duration_s
        return TokenWindow(
            batch=made.batch_size,
            prompt=made.prompt_tokens,
            context=made.prompt_tokens + (self._steps + 1) / 2,
            prefills=prefill.times,
            steps=decode.step_s.size,
            prefill_s=float(prefill.prefill_s.mean()),
            step_s=float(decode.step_s.mean()),
            prefill_gross_j=parts[PREFILL].energy_j,
            step_gross_j=parts[DECODE].energy_j,
            prefill_part_s=prefill.duration_s,
            step_part_s=decode.duration_s,
            idle_w=idle_w,
            status=Status.of_sum([one.status for one in parts.values()]),
        )

    @property
    def _left_s(self) -> float:
        """The rest of the time budget, after measuring idle power once more."""
        return self._ends_s - time.monotonic() - max(LEAST_IDLE_S, self._least_s)

    def _round_s(self, pieces: Mapping[Cell, Sequence[float]], window_s: float) -> float:
        """Expected duration of a round, from the time of a prefill and of its steps by cell.

        The cache that the steps begin with takes a prefill of its own.
        """
        return sum(
            prefill_s + _AROUND_S + sum(max(window_s + s / 2, 2 * s) for s in (prefill_s, steps_s))
            for prefill_s, steps_s in pieces.values()
        )
