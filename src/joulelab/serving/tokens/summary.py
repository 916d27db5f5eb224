"""A load on a language model in figures, and limits on its times.

With t_d the due time of a request, t_1 and t_m the arrival of the first and the last chunk that
carried text, and k its output tokens:

- time to the first token: ``t_1 - t_d``, with the wait for a connection and in the server's queue;
- time per output token: ``(t_m - t_1) / (k - 1)``, one value for each answer of at least two tokens
  in at least two chunks;
- gap: the time between two chunks of the same answer.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from joulelab import formats
from joulelab.serving.http_results import LimitCheck
from joulelab.serving.planning.comparison import ResponseLimit
from joulelab.serving.results import Times
from joulelab.serving.summary import Spread
from joulelab.serving.tokens.exchanges import TokenExchanges
from joulelab.serving.tokens.stream import TokenStream

LEAST_TOKENS, LEAST_SHARE = 0.5, 0.02
"""A smaller difference of mean lengths is not told."""


@dataclass(frozen=True)
class TokenSummary:
    """Tokens and their times, of answered requests.

    Attributes:
        prompt_tokens: sum over answers whose server counted them; ``None`` if none did.
        output_tokens: sum, by usage or by chunks; ``None`` if unknown for every answer.
        counted_by: ``"usage"``, ``"chunks"``, or ``"usage and chunks"``.
        output_tokens_per_s: over the duration of the load; ``None`` if unknown.
        tokens_per_s: prompt and output tokens likewise.
        first: time to the first token, from due.
        first_from_sending: the same from sending.
        per_token: time per output token.
        gaps: between the chunks of an answer.
        chunks: number of chunks with text.
        disagreeing: answers whose usage differs from the number of their chunks.
        not_streamed: answers that came in one piece.
        without_tokens: answers whose output tokens are unknown.
        shorter: answers with fewer tokens than were asked for.
        mean_prompt_tokens: of the counted prompts whose length was asked for, the mean length;
            ``None`` if there are none.
        mean_prompt_tokens_asked: the mean length that was asked for.
    """

    prompt_tokens: int | None
    output_tokens: int | None
    counted_by: str
    output_tokens_per_s: float | None
    tokens_per_s: float | None
    first: Spread
    first_from_sending: Spread
    per_token: Spread
    gaps: Spread
    chunks: int
    disagreeing: int
    not_streamed: int
    without_tokens: int
    shorter: int
    mean_prompt_tokens: float | None = None
    mean_prompt_tokens_asked: float | None = None

    @classmethod
    def of(
        cls,
        tokens: TokenExchanges,
        streams: Sequence[TokenStream | None],
        asked: Sequence[int | None],
        prompts: Sequence[int] | NDArray[np.int64] = (),
    ) -> TokenSummary:
        """Summarise a load.

        Args:
            tokens: of n requests.
            streams: (n,) their answers.
            asked: (n,) tokens that each answer had to have; ``None`` where the model ends it.
            prompts: (n,) tokens that each prompt had to have; empty where prompts were given.
        """
        exchanges, answered = tokens.exchanges, tokens.exchanges.answered
        read = [streams[number] for number in np.flatnonzero(answered).tolist()]
        prompt, output = (
            _total(of[answered]) for of in (tokens.prompt_tokens, tokens.output_tokens)
        )
        duration_s = exchanges.duration_s
        both = None if prompt is None or output is None else prompt + output
        counted = [
            name
            for name, which in (("usage", tokens.by_usage), ("chunks", ~tokens.by_usage))
            if (which & answered & np.isfinite(tokens.output_tokens)).any()
        ]
        gaps = [np.diff(np.frombuffer(one.chunk_s)) for one in read if one and one.chunk_s]
        streamed = np.array([one is not None and one.streamed for one in streams], bool)
        streamed = streamed[: len(tokens)]
        usage = answered & streamed & tokens.by_usage
        wanted = np.array([np.nan if one is None else one for one in asked[: len(tokens)]], float)
        counts = tokens.prompt_tokens
        drawn = answered & np.isfinite(counts) if len(prompts) else np.zeros(len(tokens), bool)
        return cls(
            prompt_tokens=prompt,
            output_tokens=output,
            counted_by=" and ".join(counted),
            output_tokens_per_s=_rate(output, duration_s),
            tokens_per_s=_rate(both, duration_s),
            first=Spread.of(_known(tokens.to_first_s)),
            first_from_sending=Spread.of(_known((tokens.first_s - exchanges.sent_s)[answered])),
            per_token=Spread.of(_known(tokens.per_token_s)),
            gaps=Spread.of(np.concatenate([*gaps, np.zeros(0)])),
            chunks=int(tokens.chunks[answered].sum()),
            disagreeing=int((usage & (tokens.output_tokens != tokens.chunks)).sum()),
            not_streamed=int((answered & ~streamed).sum()),
            without_tokens=int((answered & np.isnan(tokens.output_tokens)).sum()),
            shorter=int((answered & (tokens.output_tokens < wanted)).sum()),
            mean_prompt_tokens=float(counts[drawn].mean()) if drawn.any() else None,
            mean_prompt_tokens_asked=(
                float(np.asarray(prompts)[: len(tokens)][drawn].mean()) if drawn.any() else None
            ),
        )

    def sentences(self) -> list[str]:
        """What a reader of the figures must know."""
        said = []
        if self.output_tokens is not None and self.counted_by != "usage":
            said.append(
                "output tokens are counted chunks, as the server gave no count of them"
                + (" for some answers" if "usage" in self.counted_by else "")
            )
        if self.disagreeing:
            said.append(
                f"usage and the number of chunks differ in {_answers(self.disagreeing)} "
                f"({self.output_tokens:,} tokens, {self.chunks:,} chunks with text): a chunk may "
                "carry several tokens or none; usage counts"
            )
        if self.not_streamed:
            said.append(
                f"{_answers(self.not_streamed)} came in one piece: time to the first token unknown"
            )
        if self.without_tokens:
            said.append(f"{_answers(self.without_tokens)} without a number of output tokens")
        actual, asked = self.mean_prompt_tokens, self.mean_prompt_tokens_asked
        if actual is not None and asked is not None and _differ(actual, asked):
            why = ": the server adds those of its template" if actual > asked else ""
            said.append(
                f"prompts had {actual:.1f} tokens in the mean, not {asked:.1f} as asked{why}"
            )
        if self.shorter:
            said.append(f"{_answers(self.shorter)} ended before the number of tokens asked for")
        return said


def first_limit(tokens: TokenExchanges, limit: ResponseLimit) -> LimitCheck:
    """Whether first tokens came in time; a request without one did not."""
    return LimitCheck.within(tokens.to_first_s, limit, "to the first token")


def per_token_limit(tokens: TokenExchanges, limit: ResponseLimit) -> LimitCheck:
    """Whether tokens followed each other in time.

    Requests that failed did not; answers of a single token or chunk have no such time, and do not
    count.
    """
    per_token_s = tokens.per_token_s
    counts = ~tokens.exchanges.answered | np.isfinite(per_token_s)
    return LimitCheck.within(per_token_s[counts], limit, "per output token")


def _differ(actual: float, asked: float) -> bool:
    """Whether prompts are not of the length asked for: in the mean, words round up and down."""
    return abs(actual - asked) > max(LEAST_TOKENS, LEAST_SHARE * asked)


def _total(values: Times) -> int | None:
    known = _known(values)
    return int(known.sum()) if len(known) else None


def _known(values: Times) -> Times:
    return values[np.isfinite(values)]


def _rate(count: int | None, duration_s: float) -> float | None:
    return count / duration_s if count is not None and duration_s > 0 else None


def _answers(number: int) -> str:
    return formats.count(number, "answer")
