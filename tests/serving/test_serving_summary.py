"""Windows in figures and in words. Windows are made by a small model of a server."""

import numpy as np
import pytest

from joulelab.serving.policies import parse_policy
from joulelab.serving.results import Answers, BatchRecord, Sendings, served
from joulelab.serving.summary import (
    batch_histogram,
    load_of,
    producer_in_words,
    saturation_in_words,
    summary,
)


def window(policy, rate_per_s, batch_s, image_s, requests=512, late=1.0, full=()):
    """A window of a server that needs batch_s + n image_s for a batch of n."""
    due_s = np.arange(1, requests + 1) / rate_per_s
    sent_s = late * due_s
    sent_s[list(full)] = np.nan
    policy, free_s, next_, batches = parse_policy(policy), 0.0, 0, []
    entered = np.flatnonzero(~np.isnan(sent_s))
    times_s = sent_s[entered]
    while next_ < len(times_s):
        now_s = max(free_s, times_s[next_])
        while True:
            waiting = int(np.searchsorted(times_s, now_s, "right")) - next_
            ended = next_ + waiting == len(times_s)
            size = min(waiting, policy.largest) if ended else 0
            size = size or policy.take(waiting, now_s - times_s[next_])
            if size:
                break
            now_s = times_s[next_ + waiting]
        free_s = now_s + batch_s + size * image_s
        rows = entered[next_ : next_ + size].tolist()
        batches.append(BatchRecord(rows, now_s, free_s, waiting, size * image_s, batch_s))
        next_ += size
    answers = Answers(batches, {}, ())
    return served(Sendings(due_s, sent_s, {}), answers, 0.0, ["image.png"] * requests)


def verdict(window, rate_per_s):
    return load_of(window, rate_per_s).saturated


@pytest.mark.parametrize(
    ("policy", "rate", "costs", "requests", "expected"),
    [
        # Far from and near to what the server can do.
        ("fixed(1)", 16, (0.01, 0.01), 512, False),
        ("fixed(1)", 16, (0.0, 0.058), 512, False),
        ("fixed(1)", 16, (0.0, 0.07), 512, True),
        ("fixed(1)", 16, (0.0, 0.9), 512, True),
        # A policy that waits for its batch is no slow server, also where that is the window.
        ("fixed(64)", 16, (0.2, 0.01), 512, False),
        ("fixed(128)", 16, (0.2, 0.01), 128, False),
        ("fixed(64)", 16, (0.2, 0.01), 80, False),
        ("fixed(64)", 16, (0.0, 0.9), 128, True),
        ("fixed(64)", 16, (0.0, 0.9), 2048, True),
        # Too slow by four in a hundred, which takes long to see.
        ("fixed(64)", 16, (0.0, 0.065), 2048, None),
        ("fixed(8)", 16, (0.0, 0.065), 2048, True),
        # Greedy batches grow until they are large enough, if they may.
        ("greedy(128)", 16, (0.3, 0.02), 512, False),
        ("greedy(128)", 16, (0.5, 0.04), 512, False),
        ("greedy(8)", 16, (0.4, 0.02), 512, True),
        ("greedy(16)", 16, (0.0, 0.9), 1024, True),
        # Batches still grow when the requests end.
        ("greedy(128)", 16, (1.0, 0.055), 20, None),
    ],
)
def test_a_queue_that_grows_without_bound_is_told_from_one_that_waits(
    policy, rate, costs, requests, expected
):
    made = window(policy, rate, *costs, requests=requests)
    assert verdict(made, rate) is expected


def test_saturation_is_said_with_both_rates():
    made = window("fixed(1)", 16, 0.0, 0.9)
    assert saturation_in_words(made, 16.0) == (
        "offered 16.0/s, served 1.11/s: the queue grew without bound"
    )
    assert saturation_in_words(window("fixed(1)", 16, 0.0, 0.01), 16.0) == ""
    short = window("greedy(128)", 16, 1.0, 0.055, requests=20)
    assert "too short to tell" in saturation_in_words(short, 16.0)


def test_a_full_queue_is_saturation():
    made = window("fixed(1)", 16, 0.0, 0.01, full=(7, 9, 11))
    assert summary(made, 16.0)["saturated"] == 1
    assert saturation_in_words(made, 16.0).endswith(
        "the queue was full, and 3 of 512 requests were dropped"
    )


def test_the_figures_of_a_window():
    made = window("fixed(4)", 10, 0.1, 0.05, requests=10)
    figures = summary(made, 10.0)
    # Batches of 4, 4, 2, taken at 0.4, 0.8 and 1.1 s (the server is busy until then).
    assert made.batch_sizes.tolist() == [4, 4, 2]
    assert made.batch_answered_s == pytest.approx([0.7, 1.1, 1.3])
    responses_s = [0.6, 0.5, 0.4, 0.3, 0.6, 0.5, 0.4, 0.3, 0.4, 0.3]
    assert figures == {
        "requests": 10,
        "answered": 10,
        "dropped": 0,
        "dropped_full": 0,
        "unreadable": 0,
        "offered_per_s": 10.0,
        "sent_per_s": pytest.approx(10.0),
        "gap_error_p99_s": pytest.approx(0.0, abs=1e-12),
        "throughput_per_s": pytest.approx(10 / 1.3),
        "response_mean_s": pytest.approx(np.mean(responses_s)),
        "response_p50_s": pytest.approx(0.4),
        "response_p95_s": pytest.approx(0.6),
        "response_p99_s": pytest.approx(0.6),
        "response_max_s": pytest.approx(0.6),
        "batch_mean": pytest.approx(10 / 3),
        "batch_largest": 4,
        "batches": 3,
        "model_share": pytest.approx(0.5 / 1.3),
        "saturated": 0,
    }
    assert batch_histogram(made) == {2: 1, 4: 2}


def test_where_nothing_was_answered_figures_are_unknown_and_not_zero():
    nothing = served(
        Sendings(np.array([0.1, 0.2]), np.full(2, np.nan), {0: "torn", 1: "torn"}),
        Answers([], {}, ()),
        0.0,
        ["a.png", "b.png"],
    )
    figures = summary(nothing, 10.0)
    assert (figures["answered"], figures["dropped"], figures["unreadable"]) == (0, 2, 2)
    for name in ("response_mean_s", "response_p99_s", "batch_mean", "sent_per_s", "saturated"):
        assert figures[name] is None
    assert saturation_in_words(nothing, 10.0) == "nothing was answered"


def test_a_producer_that_is_too_slow_is_said_with_what_it_reached():
    slow = window("fixed(1)", 500, 0.0, 0.001, late=500 / 431)
    assert producer_in_words(slow).startswith("the producer sent 431/s of 500/s: up to ")
    assert producer_in_words(window("fixed(1)", 500, 0.0, 0.001, late=1.005)) == ""


def test_the_pace_of_a_producer_does_not_suffer_from_a_full_queue():
    made = window("fixed(1)", 500, 0.0, 0.001, full=range(100, 300))
    assert summary(made, 500.0)["sent_per_s"] == pytest.approx(500.0)
    assert producer_in_words(made) == ""
