"""The figures of one generation run, from the times and energies of its two parts.

With N_p prefills alone that took E_p, and N_g whole generations that took E_g, of B sequences with
P prompt and T output tokens::

    e_p = E_p / N_p                             joules of a prefill
    e_g = E_g / N_g                             joules of a whole generation
    per prompt token         e_p / (B P)
    per output token         e_g / (B T)        the prompt's included
    per decoded token        (e_g - e_p) / (B (T - 1))
    per token in all         e_g / (B (P + T))

each gross and net (idle power of the window times the part's duration). No prefill or step is
measured by itself: a part lasts seconds, and its energy is that between its edges
(`joulelab.energy.phases`). Where it is shorter than two ticks of the sensor, its energy is an
estimate, and ``parts_status`` says so.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from joulelab.energy.phases import PhaseEnergy, phase_energies
from joulelab.energy.reading import Status, Total
from joulelab.serving.generation.tasks import GENERATION, PREFILL, Generated
from joulelab.study.executor import Outcome


def run_figures(generated: Generated, outcome: Outcome[Generated], total: Total) -> dict[str, Any]:
    """Columns of a run.

    Args:
        generated: the times.
        outcome: of the window, with its samples.
        total: the energy that counts of the window.
    """
    prefill, generation = generated.part(PREFILL), generated.part(GENERATION)
    spans = [(one.name, one.began_s, one.ended_s) for one in generated.parts]
    parts = phase_energies(spans, outcome.measurement, total, outcome.samples)
    idle_w = None
    if total.idle_j is not None and outcome.measurement.duration_s > 0:
        idle_w = total.idle_j / outcome.measurement.duration_s
    joules = {
        "gross": (_each(parts[PREFILL], prefill.times), _each(parts[GENERATION], generation.times)),
        "net": (
            _each(parts[PREFILL], prefill.times, idle_w),
            _each(parts[GENERATION], generation.times, idle_w),
        ),
    }
    return {
        "prefills": prefill.times,
        "generations": generation.times,
        "tokens": generation.times * generated.batch_size * generated.output_tokens,
        **time_figures(generated),
        **{
            f"{basis}_{name}": value
            for basis, (of_prefill, of_generation) in joules.items()
            for name, value in per_token(generated, of_prefill, of_generation).items()
        },
        "parts_status": str(Status.of_sum([one.status for one in parts.values()])),
        "peak_memory_bytes": generated.peak_bytes,
    }


def time_figures(generated: Generated) -> dict[str, float]:
    """Seconds of a prefill and of a token, and output tokens per second of all sequences.

    Args:
        generated: the times of prefills alone and of whole generations.
    """
    prefill, generation = generated.part(PREFILL), generated.part(GENERATION)
    steps_s = generation.step_s.ravel()
    tokens = generation.times * generated.batch_size * generated.output_tokens
    return {
        "prefill_s": float(prefill.prefill_s.mean()),
        "prefill_p95_s": float(np.percentile(prefill.prefill_s, 95)),
        "token_s": float(steps_s.mean()),
        "token_p50_s": float(np.percentile(steps_s, 50)),
        "token_p95_s": float(np.percentile(steps_s, 95)),
        "tokens_per_s": tokens / generation.duration_s,
    }


def per_token(
    generated: Generated, prefill_j: float | None, generation_j: float | None
) -> Mapping[str, float | None]:
    """Joules of each kind of token; ``None`` where unknown.

    Args:
        generated: its batch and lengths.
        prefill_j: joules of a prefill of the batch.
        generation_j: joules of a whole generation.

    >>> one = Generated(2, 10, 6, (), 0, None)
    >>> [round(value, 3) for value in per_token(one, 4.0, 24.0).values()]
    [0.2, 2.0, 2.0, 0.75]
    """
    batch, prompt, output = generated.batch_size, generated.prompt_tokens, generated.output_tokens
    decode_j = None
    if prefill_j is not None and generation_j is not None:
        decode_j = generation_j - prefill_j

    def over(joules: float | None, tokens: int) -> float | None:
        return None if joules is None else joules / (batch * tokens)

    return {
        "per_prompt_token_j": over(prefill_j, prompt),
        "per_output_token_j": over(generation_j, output),
        "per_decoded_token_j": over(decode_j, output - 1),
        "per_token_j": over(generation_j, prompt + output),
    }


def _each(part: PhaseEnergy, times: int, idle_w: float | None = 0.0) -> float | None:
    """Joules of one piece of work in a part; above idle, if its power is given."""
    if part.energy_j is None or idle_w is None:
        return None
    return (part.energy_j - idle_w * part.duration_s) / times
