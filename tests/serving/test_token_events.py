"""Server-sent events, however their bytes are split."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from joulelab.serving.tokens import events
from joulelab.serving.tokens.events import EventParser, EventTooLongError

STREAM = (
    "\ufeff: hello\r\n"
    "data: first\r\n\r\n"
    "event: message\nid: 7\ndata: one\ndata:two\ndata\n\n"
    "data: line end by CR alone\r\r"
    "\n\n:only a comment\n\n"
    "data: f\u00fcr \u4e16\u754c\n\n"
    "data: [DONE]\n\n"
).encode()
EVENTS = [
    b"first",
    b"one\ntwo\n",
    b"line end by CR alone",
    "f\u00fcr \u4e16\u754c".encode(),
    b"[DONE]",
]


@given(st.sets(st.integers(1, len(STREAM) - 1)))
def test_events_are_the_same_wherever_the_bytes_are_split(cuts):
    parser, found = EventParser(), []
    edges = [0, *sorted(cuts), len(STREAM)]
    for begin, end in pairwise(edges):
        found += parser.feed(STREAM[begin:end])
    assert found + parser.end() == EVENTS


def test_an_event_is_complete_with_its_empty_line_and_not_before():
    parser = EventParser()
    assert parser.feed(b"data: a\n") == []
    assert parser.feed(b"\n") == [b"a"]


def test_the_end_of_the_stream_completes_an_event():
    parser = EventParser()
    assert parser.feed(b"data: [DONE]") == []
    assert parser.end() == [b"[DONE]"]


def test_an_event_without_end_is_refused_before_it_fills_the_memory(monkeypatch):
    monkeypatch.setattr(events, "MOST_EVENT_BYTES", 100)
    parser = EventParser()
    parser.feed(b"data: " + b"x" * 50)
    with pytest.raises(EventTooLongError):
        parser.feed(b"x" * 50)
    lines = EventParser()
    lines.feed(b"data: 12345678\n" * 12)
    with pytest.raises(EventTooLongError):
        lines.feed(b"data: 12345678\n")
