"""Tokens and their times, by hand."""

import numpy as np
import pytest
from token_endpoint import DONE, chat, usage

from joulelab.serving.http_results import Exchanges
from joulelab.serving.planning.comparison import ResponseLimit
from joulelab.serving.tokens.exchanges import TokenExchanges
from joulelab.serving.tokens.stream import TokenStream
from joulelab.serving.tokens.summary import TokenSummary, first_limit, per_token_limit

START_S = 1000.0


def stream(*chunk_s, counts=None):
    """An answer whose chunks with text came at these times after the first due time."""
    answer = TokenStream()
    answer.begin(200, {b"content-type": b"text/event-stream"})
    for at_s in chunk_s:
        answer.receive(chat("a"), START_S + at_s)
    if counts is not None:
        answer.receive(usage(*counts), START_S + 9)
    answer.receive(chat("", "stop") + DONE, START_S + 9)
    assert answer.end() == ""
    return answer


def load():
    """Four requests: of three tokens, of one, one that failed in mid-stream, one never sent."""
    due_s = np.array([0.0, 1.0, 2.0, 3.0])
    begun_s = due_s + 0.1
    sent_s = np.array([0.2, 1.2, 2.2, np.nan])
    ended_s = np.array([2.5, 2.0, 5.0, 3.1])
    names = ("answered", "the stream stopped before its end", "not sent: 3 requests open")
    outcome = np.array([0, 0, 1, 2])
    exchanges = Exchanges(
        due_s, begun_s, sent_s, ended_s, np.zeros(4, int), outcome, names, start_s=START_S
    )
    streams = [stream(0.5, 1.0, 2.0, counts=(10, 4)), stream(1.5), stream(2.5, 2.6), None]
    return TokenExchanges.of(exchanges, streams), streams


def test_times_count_from_due_and_tokens_from_usage():
    tokens, _ = load()
    assert tokens.first_s == pytest.approx([0.5, 1.5, 2.5, np.nan], nan_ok=True)
    assert tokens.last_s == pytest.approx([2.0, 1.5, 2.6, np.nan], nan_ok=True)
    assert tokens.to_first_s == pytest.approx([0.5, 0.5, np.nan, np.nan], nan_ok=True)
    # Four tokens by usage: three after the first, in 1.5 s.
    assert tokens.per_token_s == pytest.approx([0.5, np.nan, np.nan, np.nan], nan_ok=True)
    assert tokens.output_tokens == pytest.approx([4, 1, 2, np.nan], nan_ok=True)
    assert tokens.prompt_tokens == pytest.approx([10, np.nan, np.nan, np.nan], nan_ok=True)
    assert tokens.chunks.tolist() == [3, 1, 2, 0]
    assert tokens.by_usage.tolist() == [True, False, False, False]
    assert len({len(column) for column in tokens.columns().values()}) == 1


def test_the_summary_is_of_answered_requests():
    tokens, streams = load()
    summary = TokenSummary.of(tokens, streams, [4, 2, 2, 2])
    assert (summary.prompt_tokens, summary.output_tokens) == (10, 5)
    assert summary.counted_by == "usage and chunks"
    assert summary.output_tokens_per_s == pytest.approx(5 / 4.9)
    assert summary.tokens_per_s == pytest.approx(15 / 4.9)
    assert summary.first.mean_s == pytest.approx(0.5)
    assert summary.first_from_sending.mean_s == pytest.approx(0.3)
    assert summary.per_token.max_s == pytest.approx(0.5)
    assert (summary.gaps.p50_s, summary.gaps.max_s) == pytest.approx((0.75, 1.0))
    assert (summary.chunks, summary.disagreeing, summary.shorter) == (4, 1, 1)
    said = summary.sentences()
    assert "gave no count of them for some answers" in said[0]
    assert len(said) == 3


def test_a_load_without_requests_has_no_figures():
    none = np.zeros(0)
    nothing = np.zeros(0, int)
    exchanges = Exchanges(none, none, none, none, nothing, nothing, ("answered",))
    tokens = TokenExchanges.of(exchanges, [])
    summary = TokenSummary.of(tokens, [], [])
    assert (summary.output_tokens, summary.output_tokens_per_s) == (None, None)
    assert summary.first.p50_s is None
    assert summary.sentences() == []


def test_a_request_without_a_first_token_is_not_within_its_limit():
    tokens, _ = load()
    limit = first_limit(tokens, ResponseLimit(50, 0.6))
    assert (limit.share_within, limit.requests, limit.held) == (0.5, 4, True)
    assert limit.in_words.startswith("p50 to the first token within 600 ms held: 50.0 % of 4")
    # The answer of one token has no time per token: three are left.
    between = per_token_limit(tokens, ResponseLimit(99, 0.6))
    assert (between.requests, between.held) == (3, False)
    assert between.share_within == pytest.approx(1 / 3)


def test_the_mean_length_of_prompts_is_told_where_it_is_not_as_asked():
    tokens, streams = load()
    # Only the first request was answered with a count, of 10 tokens.
    longer = TokenSummary.of(tokens, streams, [None] * 4, [4, 900, 900, 900])
    assert (longer.mean_prompt_tokens, longer.mean_prompt_tokens_asked) == (10, 4)
    said = "prompts had 10.0 tokens in the mean, not 4.0 as asked: the server adds those of its"
    assert f"{said} template" in longer.sentences()
    shorter = TokenSummary.of(tokens, streams, [None] * 4, [12] * 4)
    assert "prompts had 10.0 tokens in the mean, not 12.0 as asked" in shorter.sentences()
    for right in ([10] * 4, []):
        summary = TokenSummary.of(tokens, streams, [None] * 4, right)
        assert not any("in the mean" in one for one in summary.sentences())
    assert summary.mean_prompt_tokens is None, "nothing was asked for"
