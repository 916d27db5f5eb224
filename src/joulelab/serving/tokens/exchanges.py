"""Results of a load on a language model: when the tokens of each request came, and how many.

::

    due ---- sent -------- first ..... last - ended
      |<- to the first token ->|         |
                               |<------->|    (tokens - 1) times the time per output token
      |<------------ response time -------------->|
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from joulelab.serving.http_results import Exchanges
from joulelab.serving.results import Times
from joulelab.serving.tokens.stream import TokenStream


@dataclass(frozen=True)
class TokenExchanges:
    """Requests in order of due time; times in seconds since the first due time.

    Attributes:
        exchanges: what came of each request.
        first_s: (n,) time of the first chunk that carried text; NaN without one.
        last_s: (n,) time of the last chunk that carried text; NaN without one.
        prompt_tokens: (n,) by the server's ``usage``; NaN where unknown.
        output_tokens: (n,) by ``usage``, else counted chunks; NaN where unknown.
        chunks: (n,) number of chunks that carried text.
        by_usage: (n,) whether the output tokens are those of ``usage``.
    """

    exchanges: Exchanges
    first_s: Times
    last_s: Times
    prompt_tokens: Times
    output_tokens: Times
    chunks: NDArray[np.int64]
    by_usage: NDArray[np.bool_]

    @classmethod
    def of(cls, exchanges: Exchanges, streams: Sequence[TokenStream | None]) -> TokenExchanges:
        """Put together what was read.

        Args:
            exchanges: what came of each of n requests.
            streams: (n,) its answer; ``None`` for one that was never sent.
        """
        read = [one or TokenStream() for one in streams[: len(exchanges)]]
        counts = [
            (
                one.first_s - exchanges.start_s,
                one.last_s - exchanges.start_s,
                math.nan if one.prompt_tokens is None else one.prompt_tokens,
                one.tokens,
            )
            for one in read
        ]
        first_s, last_s, prompt, output = np.array(counts, float).reshape(-1, 4).T
        return cls(
            exchanges,
            first_s,
            last_s,
            prompt,
            output,
            np.array([len(one.chunk_s) for one in read], np.int64),
            np.array([one.output_tokens is not None for one in read], np.bool_),
        )

    def __len__(self) -> int:
        return len(self.exchanges)

    @property
    def to_first_s(self) -> Times:
        """(n,) from due to the first token; NaN unless answered, and where unknown."""
        return np.where(self.exchanges.answered, self.first_s - self.exchanges.due_s, np.nan)

    @property
    def per_token_s(self) -> Times:
        """(n,) time per output token after the first; NaN unless answered in several chunks."""
        several = self.exchanges.answered & (self.chunks > 1) & (self.output_tokens > 1)
        after = np.where(several, self.output_tokens - 1, np.nan)
        return (self.last_s - self.first_s) / after

    def columns(self) -> dict[str, Any]:
        """The requests as columns of equal length, one row per request."""
        return {
            **self.exchanges.columns(),
            "first_token_s": self.first_s,
            "last_token_s": self.last_s,
            "to_first_token_s": self.to_first_s,
            "per_output_token_s": self.per_token_s,
            "prompt_tokens": self.prompt_tokens,
            "output_tokens": self.output_tokens,
            "chunks": self.chunks,
            "counted_by": ["usage" if usage else "chunks" for usage in self.by_usage],
        }
