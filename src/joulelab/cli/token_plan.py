"""The answer of ``joulelab batch --llm``: sentences, tables, and plain data."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from joulelab import formats
from joulelab.energy.reading import Status
from joulelab.kinds.generation.token_table import TokenTable, token_window_rows
from joulelab.learning.language_models import RANDOM
from joulelab.present import Column, Remark, Section, Table, View, words
from joulelab.serving.generation.planning import TokenOutcome, TokenPlan

HELD, NOT_HELD = 0, 4
MOST_WARNINGS = 3
"""Number of warnings without ``--verbose``."""
HEADINGS = {"gross": "J/token", "net": "net J/token", "time": "time/token"}


@dataclass(frozen=True)
class TokenAnswer:
    """The whole answer.

    Attributes:
        table: what tokens cost.
        plans: one for each rate.
        interrupted: Ctrl-C came while measuring.
    """

    table: TokenTable
    plans: tuple[TokenPlan, ...]
    interrupted: bool = False

    @property
    def exit_code(self) -> int:
        """0; 4 if a limit cannot be met or a rate saturates."""
        return NOT_HELD if any(one.best is None for one in self.plans) else HELD

    def sentences(self) -> list[str]:
        """A line for each rate."""
        return [self._in_words(one) for one in self.plans]

    def _in_words(self, plan: TokenPlan) -> str:
        at = f"{self.table.model} at {plan.arrivals}, {plan.lengths}"
        best, first = plan.best, plan.baseline
        if best is None:
            return f"{at}: {_why_none(plan)}"
        told = f"{at}: {_batch(best)}: {_cost(plan, best)} per output token"
        told += f", {_reached(best)}"
        if best is first:
            return f"{told}; batching saves nothing" if len(plan.outcomes) > 1 else told
        if first.saturated:
            return (
                f"{told}; batch 1 ({_cost(plan, first)}) cannot keep up: at most "
                f"{formats.significant(plan.rate_per_s / first.load)}/s"
            )
        saving, spread = plan.saving, self.table.repeatability or 0.0
        if saving is not None and saving < spread:
            return (
                f"{told}, which cannot be told from batch 1 ({_cost(plan, first)}, "
                f"{_reached(first)})"
            )
        less = "" if saving is None else f", {formats.percent(saving, 0)} less than"
        return f"{told}{less or '; '} batch 1 ({_cost(plan, first)}, {_reached(first)})"

    def warnings(self) -> list[str]:
        """Warnings, each once; those that can change the choice come first."""
        table = self.table
        said = ["interrupted: planned from what had been measured"] if self.interrupted else []
        if table.status is Status.MISSING:
            said.append("no energy is known: batch sizes are compared by seconds of the server")
        elif table.idle_w is None:
            said.append("idle power is unknown: batch sizes are compared by energy above idle")
        said += table.remarks
        if table.status in (Status.ESTIMATED, Status.PARTLY_ESTIMATED):
            sources = formats.listing(table.sources)
            said.append(f"joules are {table.status} ({sources}), not read from a sensor")
        return list(dict.fromkeys(said))

    def to_dict(self) -> dict[str, Any]:
        """Plain data; unknown figures are ``None``."""
        table = self.table
        return {
            "model": table.model,
            "table": table.model_dump(mode="json") | {"cells": token_window_rows(table)},
            "idle_w": table.idle_w,
            "repeatability": table.repeatability,
            "plans": [one.to_dict() for one in self.plans],
            "sentences": self.sentences(),
            "warnings": self.warnings(),
            "interrupted": self.interrupted,
            "exit_code": self.exit_code,
        }


def token_plan_view(answer: TokenAnswer, *, verbose: bool = True) -> View:
    """The sentences, warnings, candidates or rates, and the measured costs.

    Args:
        answer: to show.
        verbose: all remarks; else the first three.
    """
    warnings = answer.warnings()
    more = 0 if verbose else len(warnings) - MOST_WARNINGS
    if more > 0:
        said = f"{formats.count(more, 'more remark')}: -v shows them"
        warnings = [*warnings[:MOST_WARNINGS], said]
    plans = _candidates(answer.plans[0]) if len(answer.plans) == 1 else _rates(answer.plans)
    return View(
        [*answer.sentences(), *map(Remark, warnings), plans, _measured(answer.table)],
        answer.to_dict,
    )


def _candidates(plan: TokenPlan) -> Table:
    """Every candidate at a single rate."""
    rows = [
        {
            "most": one.most,
            "cost": one.cost(plan.account),
            "first_median_s": one.first_median_s,
            "first_s": one.first_s,
            "per_token_s": one.per_token_s,
            "tokens_per_s": one.tokens_per_s,
            "batch": one.batch_mean,
            "load": one.load,
            "marks": _marks(plan, one),
        }
        for one in plan.outcomes
    ]
    columns = [
        Column("up to", "most", str),
        Column(HEADINGS[plan.account], "cost", _form(plan)),
        Column("first, p50", "first_median_s", _or_grows, wide=True),
        Column("first, p99", "first_s", _or_grows),
        Column("token, p99", "per_token_s", formats.duration),
        Column("tokens/s", "tokens_per_s", formats.significant),
        Column("batch", form=formats.significant),
        Column("load", form=_whole_percent),
        words("", "marks"),
    ]
    note = (
        "Simulated from the measured costs below, with their mean times. Up to: the largest number "
        "of sequences decoded together; batch: the mean."
    )
    return Table(rows, columns, note, title="Largest number of sequences decoded together")


def _rates(plans: tuple[TokenPlan, ...]) -> Table:
    """The choice at each of several rates."""
    first = plans[0]
    rows = [
        {
            "rate": one.rate_per_s,
            "most": "none" if one.best is None else f"{one.best.most}",
            "cost": None if one.best is None else one.best.cost(one.account),
            "single": None if one.baseline.saturated else one.baseline.cost(one.account),
            "first_s": None if one.best is None else one.best.first_s,
            "per_token_s": None if one.best is None else one.best.per_token_s,
            "load": None if one.best is None else one.best.load,
        }
        for one in plans
    ]
    cost = formats.or_dash(_form(first))
    columns = [
        Column("rate", form=lambda rate: f"{formats.significant(rate)}/s"),
        words("up to", "most"),
        Column(HEADINGS[first.account], "cost", cost),
        Column("batch 1", "single", lambda value: "saturated" if value is None else cost(value)),
        Column("first, p99", "first_s", formats.or_dash(formats.duration)),
        Column("token, p99", "per_token_s", formats.or_dash(formats.duration)),
        Column("load", form=_whole_percent),
    ]
    return Table(rows, columns)


def _measured(table: TokenTable) -> Section:
    """The measured costs and their conditions."""
    columns = [
        Column("batch"),
        Column("prompt", form="{:,}".format),
        Column("prefill", "prefill_s", formats.duration),
        Column("per prompt token", "j_per_prompt_token", units=formats.ENERGY),
        Column("cache", "context", lambda value: f"{value:,.0f}"),
        Column("step", "step_s", formats.duration),
        Column("per decoded token", "j_per_decoded_token", units=formats.ENERGY),
        Column("tokens/s", "tokens_per_s", formats.significant),
        Column("windows", form=str),
    ]
    threads = f", {formats.count(table.threads, 'thread')}" if table.device == "cpu" else ""
    about = f"weights: {table.weights}; {table.precision}"
    if table.weights == RANDOM:
        about += "; with fixed lengths, energy and time do not depend on the weights"
    if table.idle_w is not None:
        about += f"; idle with the model loaded: {formats.watts(table.idle_w)}"
    note = f"Net energy ({table.status}). "
    if (spread := table.repeatability) is not None:
        note += "Windows of one batch and length differ from their mean by up to "
        note += f"{formats.share(spread)}."
    made = Table(token_window_rows(table), columns, note.strip(), title="Energy and time of tokens")
    return Section(f"{table.model} on {table.machine}{threads}", [about, made])


def _why_none(plan: TokenPlan) -> str:
    kept_up = [one for one in plan.outcomes if not one.saturated]
    if not kept_up:
        return (
            "saturated, more arrives than can be answered: at most "
            f"{formats.significant(plan.most_per_s)}/s"
        )
    limits = [
        f"{name} p99 within {formats.duration(one.seconds)}"
        for name, one in (("first token", plan.limits.first), ("time per token", plan.limits.token))
        if one is not None
    ]
    quickest = min(kept_up, key=lambda one: one.first_s)
    return (
        f"no batch size keeps {' and '.join(limits)}; the quickest is {_batch(quickest)}: "
        f"{_reached(quickest)}, {_cost(plan, quickest)} per output token"
    )


def _batch(one: TokenOutcome) -> str:
    return "one sequence at a time" if one.most == 1 else f"up to {one.most} sequences together"


def _reached(one: TokenOutcome) -> str:
    return f"first token p99 {_or_grows(one.first_s)}, {formats.duration(one.per_token_s)} a token"


def _cost(plan: TokenPlan, one: TokenOutcome) -> str:
    value = _form(plan)(one.cost(plan.account))
    return value + {"time": " of a server", "net": " above idle", "gross": ""}[plan.account]


def _form(plan: TokenPlan) -> Callable[[float | None], str]:
    return formats.duration if plan.account == "time" else formats.joules


def _marks(plan: TokenPlan, one: TokenOutcome) -> str:
    marks = {
        "best": one is plan.best,
        "saturated": one.saturated,
        "too slow": not one.saturated and not one.holds,
    }
    return ", ".join(mark for mark, holds in marks.items() if holds)


def _or_grows(seconds: float) -> str:
    return "grows" if math.isinf(seconds) else formats.duration(seconds)


def _whole_percent(share: float | None) -> str:
    return formats.percent(share, 0)
