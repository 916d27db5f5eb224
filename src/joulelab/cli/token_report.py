"""The report of a load on the server of a language model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

from joulelab import formats
from joulelab.cli.load_report import LoadReport, limit_data, spread_table
from joulelab.cli.token_answer import token_data, token_parts
from joulelab.present import Part, Table
from joulelab.serving.http_results import LimitCheck, per_s
from joulelab.serving.planning.comparison import ResponseLimit
from joulelab.serving.tokens.costs import TokenEnergy
from joulelab.serving.tokens.exchanges import TokenExchanges
from joulelab.serving.tokens.lengths import Counts
from joulelab.serving.tokens.probe import Probed
from joulelab.serving.tokens.stream import TokenStream
from joulelab.serving.tokens.summary import TokenSummary, first_limit, per_token_limit

UNKNOWN = (
    "energy per output token unknown: the server is another machine; --energy-url reads its "
    "counters of joules"
)


@dataclass(frozen=True, kw_only=True)
class TokenReport(LoadReport):
    """A load on a language model that has ended.

    Attributes:
        probed: what the server said before.
        tokens: when the tokens of each request came, and how many.
        streams: (n,) the answers.
        energy: what its tokens took; ``None`` where the server's energy is unknown.
        lengths: (n,) tokens that each answer had to have; ``None`` where the model ends it.
        prompts: (n,) tokens that each prompt had to have; empty where prompts were given.
        workload: where prompts and lengths come from.
        first: limit on the time to the first token, if any.
        per_token: limit on the time per output token, if any.
    """

    probed: Probed
    tokens: TokenExchanges
    streams: Sequence[TokenStream | None]
    energy: TokenEnergy | None
    lengths: Sequence[int | None]
    prompts: Counts
    workload: str
    first: ResponseLimit | None = None
    per_token: ResponseLimit | None = None

    @cached_property
    def counts(self) -> TokenSummary:
        """Tokens and their times."""
        return TokenSummary.of(self.tokens, self.streams, self.lengths, self.prompts)

    @cached_property
    def checks(self) -> list[LimitCheck]:
        """The limits on the answer, the first token and the others."""
        kept = [] if self.kept is None else [self.kept]
        if self.first is not None:
            kept.append(first_limit(self.tokens, self.first))
        if self.per_token is not None:
            kept.append(per_token_limit(self.tokens, self.per_token))
        return kept

    @property
    def g_per_kwh(self) -> float | None:
        """Grams of CO2e for a kWh, with PUE; ``None`` without a place."""
        footprint = self.measurement.footprint
        if footprint is None or footprint.g_per_kwh is None:
            return None
        return footprint.g_per_kwh * footprint.pue

    def answer(self) -> list[Part]:
        """Joules per output token, in other units, and by device; how many were answered."""
        if not self.summary.answered:
            return [self.answered_in_words()]
        if self.energy is None:
            return [UNKNOWN, self.answered_in_words()]
        first, *rest = token_parts(self.energy, self.g_per_kwh)
        return [first, self.answered_in_words(), *rest]

    def scope(self) -> str:
        """What the energy covers."""
        if self.asked.energy_url is None:
            return super().scope()
        return f"The energy is what the counters of {self.asked.energy_url} have counted."

    def sentences(self) -> list[str]:
        """What happened, one line each."""
        return [*super().sentences(), *self.counts.sentences(), *self.probed.remarks]

    def more_facts(self) -> list[tuple[str, str]]:
        """The model, the prompts, and tokens in and out."""
        counts = self.counts
        tokens = (
            f"{_counted(counts.prompt_tokens)} in, {_counted(counts.output_tokens)} out; "
            f"{per_s(counts.output_tokens_per_s)} out, {per_s(counts.tokens_per_s)} in all"
        )
        model = f"{self.asked.model} ({self.probed.endpoint.kind})"
        return [("model", model), ("prompts", self.workload), ("tokens", tokens)]

    def to_dict(self) -> dict[str, Any]:
        """Plain data; unknown figures are ``None``."""
        named = {"to the first token": "first", "per output token": "per_token"}
        limits = {named.get(check.of_what, "response"): limit_data(check) for check in self.checks}
        return super().to_dict() | {
            "api": str(self.asked.api),
            "model": self.asked.model,
            "endpoint": str(self.probed.endpoint.kind),
            "workload": self.workload,
            "tokens": asdict(self.counts),
            "limits": limits,
            "details": dict(self.exchanges.details),
            "energy_per_token": None
            if self.energy is None
            else token_data(self.energy, self.g_per_kwh),
        }

    def _times(self) -> Table:
        times = {
            "to the first token": self.counts.first,
            "per output token": self.counts.per_token,
            "between chunks": self.counts.gaps,
            "to the answer": self.summary.response,
        }
        return spread_table("time", times)


def _counted(tokens: int | None) -> str:
    return formats.UNKNOWN if tokens is None else f"{tokens:,}"
