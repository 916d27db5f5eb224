"""What is read from the answer of a language model."""

import json
import math

import pytest
from token_endpoint import DONE, chat, completion, event, usage

from joulelab.serving.tokens import stream
from joulelab.serving.tokens.stream import TokenStream

STREAMED = {b"content-type": b"text/event-stream; charset=utf-8"}
JSON = {b"content-type": b"application/json"}


def read(*parts, status=200, headers=STREAMED, secret=""):
    """Read an answer, a part each second; the answer and why it does not count."""
    answer = TokenStream(secret)
    answer.begin(status, headers)
    for second, part in enumerate(parts):
        answer.receive(part, float(second))
    return answer, answer.end()


@pytest.mark.parametrize("make", [chat, completion])
def test_times_are_those_of_chunks_with_text(make):
    parts = [make(""), make("a"), make("b"), make(""), make("c"), make("", "stop"), DONE]
    answer, wrong = read(*parts)
    assert wrong == ""
    assert list(answer.chunk_s) == [1, 2, 4]
    assert (answer.first_s, answer.last_s) == (1, 4)
    assert (answer.tokens, answer.output_tokens, answer.prompt_tokens) == (3, None, None)


def test_reasoning_and_calls_of_tools_are_text():
    call = {"function": {"name": "add", "arguments": ""}}
    parts = [
        chat(role="assistant", content=None),
        chat(reasoning_content="hm"),
        chat(reasoning="hm"),
        chat(tool_calls=[call]),
        chat(tool_calls=[{"function": {"arguments": "{}"}}]),
        chat("", "tool_calls"),
    ]
    answer, wrong = read(*parts)
    assert wrong == ""
    assert list(answer.chunk_s) == [1, 2, 3, 4]


def test_usage_counts_rather_than_chunks_and_the_last_one():
    answer, wrong = read(chat("a"), usage(9, 1), chat("b", "stop"), usage(9, 0), DONE)
    assert wrong == ""
    assert (answer.prompt_tokens, answer.output_tokens, answer.tokens) == (9, 0, 0)


@pytest.mark.parametrize("count", [None, -1, True, 2.5, "3", 10**400])
def test_a_count_that_is_none_is_unknown(count):
    answer, _ = read(chat("a"), usage(count, count), DONE)
    assert (answer.prompt_tokens, answer.output_tokens) == (None, None)
    assert answer.tokens == 1


@pytest.mark.parametrize(
    ("parts", "reason"),
    [
        ([chat("a"), chat("b")], stream.STOPPED),
        ([], stream.NO_CHUNK),
        ([DONE], stream.NO_CHUNK),
        ([b": keep-alive\n\n", event({"hello": 1}), DONE], stream.NO_CHUNK),
        ([b"data: {oh\n\n"], stream.BAD_CHUNK),
        ([b"data: [1]\n\n"], stream.BAD_CHUNK),
        ([b"data: " + b"[" * 100_000 + b"\n\n"], stream.BAD_CHUNK),
        ([chat("a"), event({"error": {"message": "out of memory"}}), DONE], stream.ERROR),
        ([chat("a"), event({"object": "error", "message": "out of memory"})], stream.ERROR),
    ],
)
def test_a_stream_that_is_not_as_the_protocol_says_has_failed(parts, reason):
    assert read(*parts)[1] == reason


def test_a_stream_without_done_is_complete_if_it_says_why_it_finished():
    assert read(chat("a"), chat("", "stop"))[1] == ""
    assert read(chat("a"), DONE)[1] == ""


def test_an_answer_in_one_piece_has_counts_and_no_times():
    body = {
        "choices": [{"message": {"content": "hello"}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 4, "completion_tokens": 2},
    }
    answer, wrong = read(json.dumps(body).encode(), headers=JSON)
    assert wrong == ""
    assert not answer.streamed
    assert math.isnan(answer.first_s)
    assert (answer.prompt_tokens, answer.tokens) == (4, 2)
    del body["usage"]
    assert math.isnan(read(json.dumps(body).encode(), headers=JSON)[0].tokens)


@pytest.mark.parametrize(
    ("body", "headers", "reason"),
    [
        (b"<html>", {b"content-type": b"text/html"}, "but text/html"),
        (b"{}", JSON, stream.BAD_ANSWER),
        (b"[]", JSON, stream.BAD_ANSWER),
        (b'{"error": "no"}', JSON, stream.BAD_ANSWER),
    ],
)
def test_another_protocol_is_named(body, headers, reason):
    assert reason in read(body, headers=headers)[1]


@pytest.mark.parametrize(
    "body",
    [
        {"error": {"message": "key sk-1 is\n wrong"}},
        {"detail": "key sk-1 is wrong"},
        {"message": "key sk-1 is wrong"},
        {"error": "key sk-1 is wrong"},
    ],
)
def test_a_refusal_says_why_without_the_key(body):
    answer, wrong = read(json.dumps(body).encode(), status=401, headers=JSON, secret="sk-1")
    assert wrong == ""
    assert answer.detail == "key *** is wrong"


def test_a_refusal_that_asks_to_wait_says_how_long():
    answer, _ = read(b"busy", status=429, headers={b"retry-after": b"7"})
    assert answer.detail == "Retry-After: 7"
