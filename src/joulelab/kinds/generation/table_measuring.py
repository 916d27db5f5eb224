"""What is measured of tokens by batch size and length.

A window has prefills and, apart, steps after them. The lengths are that of the prompts, and the
longest at which the steps still end with the last token. The limit is on the time of a step.
"""

from __future__ import annotations

from dataclasses import replace

from joulelab.energy.phases import phase_energies
from joulelab.energy.reading import Status, Total
from joulelab.formats import count
from joulelab.kinds.generation.executor import GenerationJob
from joulelab.kinds.generation.token_table import TokenWindow
from joulelab.kinds.inference.schedule import AROUND_S, Cell, Pieces, Work
from joulelab.serving.generation.tasks import DECODE, PREFILL, Generated, Part
from joulelab.study.executor import Outcome

STEPS = 16
"""Most steps after a prompt; then its cache is cut back."""
MOST_TOGETHER = 64
"""Largest batch size without a request for another."""


class TokenWork(Work[GenerationJob, Generated, TokenWindow]):
    """Sequences together; a cell is their number and the length of their prompts.

    A window repeats two pieces: a prefill, and the steps after one.

    Args:
        loading: a generation of the model with the lengths of the requests.
    """

    window_lengths = (8, 4, 2, 1)
    most = MOST_TOGETHER

    def __init__(self, loading: GenerationJob) -> None:
        super().__init__(loading)
        asked = loading.task
        self._steps = min(STEPS, asked.output_tokens - 1)
        longest = asked.prompt_tokens + asked.output_tokens - 1 - self._steps
        self._prompts = sorted({asked.prompt_tokens, longest})

    def cells(self, size: int) -> list[Cell]:
        """Each size with each length."""
        return [(size, prompt) for prompt in self._prompts]

    def size_in_words(self, size: int) -> str:
        """As in ``8 sequences together``."""
        return f"{count(size, 'sequence')} together"

    def cell_in_words(self, cell: Cell) -> str:
        """As in ``8 sequences, prompts of 128``."""
        return f"{count(cell[0], 'sequence')}, prompts of {cell[1]}"

    def job(self, cell: Cell, seconds: float, seed: int) -> GenerationJob:
        """Prefills and steps; a short window warms up, and the others go on from it."""
        batch, prompt = cell
        least = 2 if seconds else 1
        task = replace(
            self.loading.task,
            batch_size=batch,
            prompt_tokens=prompt,
            output_tokens=self._steps + 1,
            parts=(Part(PREFILL, seconds, least), Part(DECODE, seconds, least)),
            warm_up=0 if seconds else 1,
            seed=seed,
        )
        label = f"{count(batch, 'sequence')} of {count(prompt, 'token')}"
        return replace(self.loading, label=label, task=task)

    def pieces_s(self, result: Generated) -> Pieces:
        """The time of a prefill, and of the steps after it."""
        prefill, decode = result.part(PREFILL), result.part(DECODE)
        return float(prefill.prefill_s.mean()), float(decode.step_s.sum(axis=1).mean())

    def window_s(self, pieces_s: Pieces, seconds: float) -> float:
        """With the prefill of the cache that the steps begin with."""
        prefill_s, _ = pieces_s
        return prefill_s + AROUND_S + sum(max(seconds + s / 2, 2 * s) for s in pieces_s)

    def limited_s(self, pieces_s: Pieces) -> float:
        """The time of a step."""
        return pieces_s[1] / self._steps

    def window(self, result: Generated, outcome: Outcome[Generated], total: Total) -> TokenWindow:
        """The energy of prefills and of steps apart."""
        prefill, decode = result.part(PREFILL), result.part(DECODE)
        spans = [(one.name, one.began_s, one.ended_s) for one in result.parts]
        parts = phase_energies(spans, outcome.measurement, total, outcome.samples)
        idle_w = None
        if total.idle_j is not None and outcome.measurement.duration_s > 0:
            idle_w = total.idle_j / outcome.measurement.duration_s
        return TokenWindow(
            batch=result.batch_size,
            prompt=result.prompt_tokens,
            context=result.prompt_tokens + result.output_tokens / 2,
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
