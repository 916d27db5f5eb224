"""Costs of tokens of one model on this machine, by batch size and length: windows, and their file.

A window has prefills of b prompts of l tokens and, apart, steps of b sequences after them; several
windows of one b and l are pooled. With n prefills in a part of energy E, and m steps in another::

    p(b, l) = E / n         joules above idle of a prefill, and the mean of their times
    s(b, c) = E / m         of a step, at the middle length c of the caches

A table is kept as a JSON file, validated when it is read.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field, ValidationError

from joulelab.energy.reading import Status
from joulelab.errors import UsageError, quoted
from joulelab.kinds.inference.batch_table import Count, Entry, Positive, read_saved, write_data
from joulelab.serving.generation.costs import TokenCosts, TokenGrid
from joulelab.serving.generation.simulation import Lengths
from joulelab.serving.generation.tasks import PRECISIONS

Finite = Annotated[float, Field(allow_inf_nan=False)]


class TokenWindow(Entry):
    """One window of prefills and of steps.

    Attributes:
        batch: sequences together.
        prompt: length of the prompts.
        context: middle length of the caches in the steps.
        prefills: number of prefills.
        steps: number of steps.
        prefill_s: mean time of a prefill.
        step_s: mean time of a step.
        prefill_gross_j: joules of all prefills; ``None`` where unknown.
        step_gross_j: joules of all steps; ``None`` where unknown.
        prefill_part_s: duration of all prefills.
        step_part_s: duration of all steps.
        idle_w: idle power of the domains that count, in watts; ``None`` where unknown.
        status: of the energy.
    """

    batch: Count
    prompt: Count
    context: Positive
    prefills: Count
    steps: Count
    prefill_s: Positive
    step_s: Positive
    prefill_gross_j: Finite | None
    step_gross_j: Finite | None
    prefill_part_s: Positive
    step_part_s: Positive
    idle_w: Annotated[float, Field(ge=0)] | None
    status: Status


class TokenTable(Entry):
    """Measured windows of one model.

    Attributes:
        model: as the user calls it.
        weights: in words.
        precision: of weights and cache.
        machine: processor or graphics card, in words.
        device: ``"cpu"`` or ``"cuda:<index>"``.
        threads: of torch on the CPU.
        measured_at: when, ISO 8601.
        sources: of the energies.
        windows: in order of measurement.
        remarks: what happened on the way.
    """

    schema_version: Literal[1] = 1
    content: Literal["costs of tokens"] = "costs of tokens"
    model: str
    weights: str
    precision: Literal["float32", "bfloat16", "float16"]
    machine: str
    device: str
    threads: Count
    measured_at: str
    sources: tuple[str, ...]
    windows: Annotated[tuple[TokenWindow, ...], Field(min_length=1)]
    remarks: tuple[str, ...] = ()

    @cached_property
    def cells(self) -> tuple[TokenCell, ...]:
        """The pooled windows of each batch size and length, in their order."""
        keys = sorted({(one.batch, one.prompt) for one in self.windows})
        return tuple(
            TokenCell(tuple(one for one in self.windows if (one.batch, one.prompt) == key))
            for key in keys
        )

    @property
    def status(self) -> Status:
        """Of all energies together."""
        return Status.of_sum([one.status for one in self.windows])

    @property
    def idle_w(self) -> float | None:
        """Mean idle power; ``None`` where unknown."""
        known = [one.idle_w for one in self.windows if one.idle_w is not None]
        return statistics.fmean(known) if known else None

    @property
    def costs(self) -> TokenCosts:
        """The costs for the planner.

        Raises:
            UsageError: a length is missing for some batch size.
        """
        prompts = sorted({one.prompt for one in self.cells})
        batches = tuple(sorted({one.batch for one in self.cells}))
        cells = {(one.batch, one.prompt): one for one in self.cells}
        if len(cells) != len(prompts) * len(batches):
            raise UsageError(
                "the table lacks some lengths for some batch sizes", "measure it again"
            )
        contexts = tuple(cells[batches[0], prompt].context for prompt in prompts)
        grid = [[cells[batch, prompt] for prompt in prompts] for batch in batches]

        def joules(of: str) -> tuple[tuple[float, ...], ...] | None:
            rows = [[getattr(one, of) for one in row] for row in grid]
            if any(value is None for row in rows for value in row):
                return None
            return tuple(tuple(max(value, 0.0) for value in row) for row in rows)

        def seconds(of: str) -> tuple[tuple[float, ...], ...]:
            return tuple(tuple(getattr(one, of) for one in row) for row in grid)

        lengths = tuple(map(float, prompts))
        return TokenCosts(
            TokenGrid(batches, lengths, seconds("prefill_s"), joules("prefill_j")),
            TokenGrid(batches, contexts, seconds("step_s"), joules("step_j")),
            self.idle_w,
        )

    @property
    def repeatability(self) -> float | None:
        """Largest relative deviation of a window's step, in joules or seconds, from its cell's.

        ``None`` if nothing was measured twice.
        """
        found = []
        for cell in self.cells:
            if len(cell.windows) > 1:
                values = [
                    one.step_s if one.step_gross_j is None else one.step_gross_j / one.steps
                    for one in cell.windows
                ]
                mean = statistics.fmean(values)
                found += [abs(value - mean) / mean for value in values if mean > 0]
        return max(found, default=None)

    def check(self, lengths: Lengths) -> None:
        """Check that requests are within what was measured.

        Raises:
            UsageError: prompts, or the caches of the last tokens, are shorter or longer.
        """
        prompts = [one.prompt for one in self.cells]
        ends = [2 * one.context - one.prompt for one in self.cells]
        low, high = min(prompts), max(*prompts, *map(math.ceil, ends))
        if lengths.prompt < low or lengths.prompt + lengths.output > high + 1:
            raise UsageError(
                f"{lengths} are outside what was measured: {low} to {high + 1} tokens",
                "measure again with these lengths, without --table",
            )


@dataclass(frozen=True)
class TokenCell:
    """Windows of one batch size and length.

    Attributes:
        windows: at least one.
    """

    windows: tuple[TokenWindow, ...]

    @property
    def batch(self) -> int:
        """Sequences together."""
        return self.windows[0].batch

    @property
    def prompt(self) -> int:
        """Length of the prompts."""
        return self.windows[0].prompt

    @property
    def context(self) -> float:
        """Middle length of the caches."""
        return self.windows[0].context

    @property
    def prefill_s(self) -> float:
        """Mean time of a prefill."""
        return _mean(self.windows, "prefill_s", "prefills")

    @property
    def step_s(self) -> float:
        """Mean time of a step."""
        return _mean(self.windows, "step_s", "steps")

    @property
    def prefill_j(self) -> float | None:
        """Joules of a prefill above idle; ``None`` where unknown."""
        return self._net_j("prefill_gross_j", "prefill_part_s", "prefills")

    @property
    def step_j(self) -> float | None:
        """Joules of a step above idle; ``None`` where unknown."""
        return self._net_j("step_gross_j", "step_part_s", "steps")

    def _net_j(self, gross: str, part_s: str, times: str) -> float | None:
        joules = 0.0
        for one in self.windows:
            gross_j = getattr(one, gross)
            if gross_j is None:
                return None
            joules += gross_j - (one.idle_w or 0.0) * getattr(one, part_s)
        return joules / sum(int(getattr(one, times)) for one in self.windows)


def token_window_rows(table: TokenTable) -> list[dict[str, Any]]:
    """Time and energy of each batch size and length, as plain rows.

    Args:
        table: of one model.
    """
    return [
        {
            "batch": one.batch,
            "prompt": one.prompt,
            "context": one.context,
            "prefill_s": one.prefill_s,
            "step_s": one.step_s,
            "tokens_per_s": one.batch / one.step_s,
            "j_per_prompt_token": _over(one.prefill_j, one.batch * one.prompt),
            "j_per_decoded_token": _over(one.step_j, one.batch),
            "windows": len(one.windows),
        }
        for one in table.cells
    ]


def write_token_table(path: Path, table: TokenTable) -> None:
    """Write a table as JSON.

    Args:
        path: of the file, which is overwritten.
        table: of one model.

    Raises:
        JoulelabError: the file cannot be written.
    """
    write_data(path, table.model_dump(mode="json"))


def read_token_table(path: Path) -> TokenTable:
    """Read a table written by `write_token_table`.

    Args:
        path: of the file.

    Raises:
        UsageError: it cannot be read, or a key in it is missing, unknown or impossible.
    """
    try:
        return TokenTable.model_validate_json(read_saved(path))
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        key = ".".join(map(str, first["loc"]))
        raise UsageError(
            f"{path}: {key or 'the file'}: {first['msg'][:1].lower()}{first['msg'][1:]}",
            "measure again and save the table with --save",
        ) from None


def check_precision(name: str) -> Literal["float32", "bfloat16", "float16"]:
    """A precision by its name.

    Raises:
        UsageError: it is unknown.
    """
    if name not in PRECISIONS:
        raise UsageError(f"precision {quoted(name)} is unknown", f"one of: {', '.join(PRECISIONS)}")
    return name  # type: ignore[return-value]


def _mean(windows: Sequence[TokenWindow], of: str, weight: str) -> float:
    weights = [float(getattr(one, weight)) for one in windows]
    values = [float(getattr(one, of)) for one in windows]
    return float(np.average(values, weights=weights))


def _over(joules: float | None, tokens: int) -> float | None:
    return None if joules is None else joules / tokens
