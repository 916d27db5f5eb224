"""Joules per token: what is counted where, intervals, and costs apart, against known servers."""

from dataclasses import replace

import numpy as np
import pytest
from token_loads import IDLE_W, Load, constant, even, net_truth_j, served

from joulelab.serving.tokens.batch_means import batch_means, ratio_of
from joulelab.serving.tokens.costs import compared
from joulelab.serving.tokens.energy import token_energy
from joulelab.serving.tokens.flow import Flow, steady_window


def test_tokens_are_counted_when_they_come():
    flow = replace(even(1), chunk_s=None, chunk_tokens=None)
    at_s = np.array([0.0, 0.0999, 0.1, 0.55, 1.0, 5.0])
    assert flow.output_until(at_s) == pytest.approx([0, 0, 1, 10.5, 20, 20])
    # The only prefill took 0.1 s for 50 tokens, which is also the quickest.
    assert flow.prompt_until(np.array([0.0, 0.05, 0.1])) == pytest.approx([0, 25, 50])
    assert flow.requests_until(np.array([0.0, 0.25, 2.0])) == pytest.approx([0, 0.25, 1])


def test_chunks_carry_their_own_tokens():
    flow = replace(even(1), chunk_s=np.array([0.1, 0.7]), chunk_tokens=np.array([5.0, 15.0]))
    assert flow.output_until(np.array([0.05, 0.3, 0.9])) == pytest.approx([0, 5, 20])


def test_a_table_of_requests_gives_the_answered_ones_and_their_chunks():
    columns = {
        "outcome": ["answered", "HTTP 500", "answered"],
        "due_s": [0.0, 1.0, 2.0],
        "sent_s": [0.0, 1.0, 2.0],
        "first_token_s": [0.5, np.nan, 2.5],
        "last_token_s": [0.9, np.nan, 2.9],
        "ended_s": [1.0, 4.0, 3.0],
        "prompt_tokens": [5.0, np.nan, 7.0],
        "output_tokens": [4.0, np.nan, 6.0],
    }
    flow = Flow.of(columns, [[0.5, 0.9], [3.0], [2.5, 2.7, 2.9]])
    assert len(flow) == 2
    assert (flow.last_due_s, flow.end_s) == (2.0, 4.0)
    assert flow.output_until(np.array([0.6, 1.0, 2.8])) == pytest.approx([2, 4, 8])
    assert Flow.of(columns).chunk_s is None
    assert Flow.of(columns, [[], [], [2.5]]).chunk_s is None  # those of one are unknown
    nothing = {name: values[:0] for name, values in columns.items()}
    assert steady_window(Flow.of(nothing)).reason == "no request was answered"


def test_an_answer_without_text_does_not_hide_the_tokens_of_others():
    flow = even(200)
    silent = np.arange(200) == 100  # the end of a text as its only token
    times = [np.full(20, s) for s in flow.first_s]
    columns = {
        "outcome": ["answered"] * 200,
        "due_s": flow.due_s,
        "sent_s": flow.sent_s,
        "first_token_s": np.where(silent, np.nan, flow.first_s),
        "last_token_s": np.where(silent, np.nan, flow.first_s),
        "ended_s": flow.ended_s,
        "prompt_tokens": flow.prompt_tokens,
        "output_tokens": np.where(silent, 1.0, flow.output_tokens),
    }
    chunk_s = [np.empty(0) if one else at_s for one, at_s in zip(silent, times, strict=True)]
    found = token_energy(Flow.of(columns, chunk_s), [constant(150.0, 120.0)], 0.0)
    assert set(found.total.per) == {"output token", "token", "request"}
    assert "the times of the chunks" not in found.split.reason
    whole = Flow.of(columns, chunk_s)
    end = np.array([1e9])
    assert whole.output_until(end)[0] == pytest.approx(20 * 199 + 1)
    assert whole.prompt_until(end)[0] == pytest.approx(flow.prompt_tokens.sum())
    in_one_piece = columns | {"first_token_s": np.full(200, np.nan)}
    found = token_energy(Flow.of(in_one_piece), [constant(150.0, 120.0)], 0.0)
    assert found.per_output_token is not None
    assert found.split.reason


def test_prefill_is_the_last_part_of_a_wait():
    flow = even(20)
    queued = replace(flow, sent_s=np.where(flow.due_s > 4, flow.sent_s - 1.0, flow.sent_s))
    whole = queued.prompt_until(np.array([100.0]))[0]
    before = queued.prompt_until(np.array([float(queued.first_s[-1]) - 0.2]))[0]
    assert whole - before == pytest.approx(50.0)


def test_the_steady_window_lies_between_ramp_up_and_drain():
    window = steady_window(even(100), tick_s=0.1)
    assert window.steady
    assert (window.start_s, window.end_s) == (pytest.approx(1.0), pytest.approx(49.5))
    assert window.ended == 97


@pytest.mark.parametrize(
    ("count", "tick_s", "why"),
    [(2, 0.1, "to become steady"), (15, 0.1, "only"), (60, 3.0, "ticks of the sensor")],
)
def test_a_load_that_is_too_short_has_no_steady_window(count, tick_s, why):
    window = steady_window(even(count), tick_s)
    assert not window.steady
    assert (window.start_s, window.end_s) == (0.0, even(count).end_s)
    assert why in window.reason


def test_a_constant_load_costs_what_a_sum_by_hand_says():
    flow, offset_s = even(200), 1000.0
    found = token_energy(flow, [constant(150.0, 120.0, offset_s, idle_w=50.0)], offset_s)
    cost = found.per_output_token
    # 150 W and, every 0.5 s, a request of 20 output tokens.
    assert cost.gross.value == pytest.approx(150.0 * 0.5 / 20, rel=0.005)
    assert cost.net.value == pytest.approx(100.0 * 0.5 / 20, rel=0.005)
    assert cost.gross.low <= cost.gross.value <= cost.gross.high
    per = found.total.per
    assert per["token"].gross.value == pytest.approx(150.0 * 0.5 / 70, rel=0.005)
    assert per["request"].gross.value == pytest.approx(75.0, rel=0.005)
    assert found.compared(100.0)["wh_per_1000_requests"] == pytest.approx(75 / 3.6, rel=0.005)


def test_devices_stand_apart_and_add_up():
    courses = [
        constant(100.0, 120.0),
        constant(40.0, 120.0, domain="cpu:0"),
        constant(30.0, 120.0, domain="core:0", counts=False),
        constant(5.0, 120.0, domain="dram:0", status="estimated"),
    ]
    found = token_energy(even(200), courses, 0.0)
    values = {one.name: one.per["request"].gross.value for one in found.costs}
    assert list(values) == ["total", "GPU", "processor", "memory"]
    assert values["total"] == pytest.approx(sum(list(values.values())[1:]))
    assert values["total"] == pytest.approx(145.0 * 0.5, rel=0.005)
    assert [one.status for one in found.costs] == ["estimated", "measured", "measured", "estimated"]
    assert found.total.net_j is None  # nobody has measured idle power


def test_a_wall_that_counts_has_its_parts_below_it():
    courses = [
        constant(300.0, 120.0, domain="box/wall"),
        constant(100.0, 120.0, domain="box/gpu:0", counts=False),
    ]
    found = token_energy(even(200), courses, 0.0)
    assert [one.name for one in found.costs] == ["total", "GPU"]
    assert found.total.domains == ("box/wall",)


def test_the_bound_of_the_meter_is_apart_from_the_interval():
    found = token_energy(even(200), [constant(150.0, 120.0, error_j=18_000.0)], 0.0)
    cost = found.per_output_token
    # The whole may be off by all of it, and so may each token, and a tick of 0.1 s at the edges.
    share = 1 + 0.1 / found.window.duration_s
    assert cost.bound_j == pytest.approx(cost.gross.value * share, rel=0.01)
    assert cost.gross.high - cost.gross.low < 0.2 * cost.gross.value


def test_what_is_unknown_has_a_reason():
    flow = even(200)
    without = replace(flow, prompt_tokens=np.where(flow.due_s < 1, np.nan, flow.prompt_tokens))
    found = token_energy(without, [constant(150.0, 120.0)], 0.0)
    assert set(found.total.per) == {"output token", "request"}
    assert found.prompt_tokens is None
    assert found.reason == "2 of 200 answered requests came without a count of prompt tokens"
    nothing = token_energy(flow, [], 0.0)
    assert nothing.total is None
    assert nothing.reason == "the energy is unknown"
    assert token_energy(flow, [constant(1.0, 120.0)], 0.0, whole=False).total is None


def test_intervals_hold_the_truth_as_often_as_they_say():
    load = Load(duration_s=60.0)
    truth = net_truth_j(load)
    held = []
    for seed in range(40):
        flow, course = served(load, seed)
        net = token_energy(flow, [course], 0.0).per_output_token.net
        held.append(net.low <= truth <= net.high)
    # Of 40 draws, 95 % hold; fewer than 32 would come once in 30,000.
    assert sum(held) >= 32


def test_correlated_batches_are_made_longer():
    random = np.random.default_rng(3)
    noise = np.zeros(4000)
    for at in range(1, 4000):
        noise[at] = 0.99 * noise[at - 1] + random.normal()
    edges_s = np.arange(4001) * 0.1
    spent_j = np.concatenate(([0.0], np.cumsum(100 + noise)))

    def between(begins_s, ends_s):
        return np.interp(ends_s, edges_s, spent_j) - np.interp(begins_s, edges_s, spent_j)

    found = batch_means(between, lambda at_s: 10 * at_s, (0.0, 400.0), 0.1)
    plain = ratio_of(between(np.arange(20) * 20.0, np.arange(1, 21) * 20.0), np.full(20, 200.0))
    assert found.high - found.low > plain.high - plain.low


def test_batches_are_longer_than_ticks_or_there_is_no_interval():
    flow = even(200)
    slow = token_energy(flow, [constant(150.0, 120.0, tick_s=4.0)], 0.0)
    assert slow.per_output_token.gross.low is None
    assert "ticks" in slow.per_output_token.gross.reason


def test_costs_of_prompt_and_output_tokens_are_found_apart():
    flow, course = served(Load(duration_s=600.0), 7)
    split = token_energy(flow, [course], 0.0).split
    assert split.prompt.value == pytest.approx(Load.prompt_j, rel=0.05)
    assert split.output.value == pytest.approx(Load.output_j, rel=0.05)
    assert split.base_w == pytest.approx(IDLE_W, rel=0.05)
    assert split.prompt.low < split.prompt.value < split.prompt.high


def test_costs_apart_are_unknown_where_all_requests_are_alike():
    flow, course = served(Load(same_lengths=True), 7)
    split = token_energy(flow, [course], 0.0).split
    assert (split.prompt, split.output) == (None, None)
    assert "nearly the same lengths" in split.reason


def test_costs_apart_need_a_steady_window_and_the_times_of_chunks():
    flow, course = served(Load(duration_s=60.0), 7)
    blind = replace(flow, chunk_s=None, chunk_tokens=None)
    assert "chunks" in token_energy(blind, [course], 0.0).split.reason
    short, course = served(Load(duration_s=3.0), 7)
    assert "no steady window" in token_energy(short, [course], 0.0).split.reason


def test_units_that_people_compare():
    found = compared(0.36, 72.0, 400.0)
    assert found["output_tokens_per_kwh"] == pytest.approx(1e7)
    assert found["wh_per_1000_requests"] == pytest.approx(20.0)
    assert found["g_co2e_per_million_output_tokens"] == pytest.approx(40.0)
    assert compared(None, None)["output_tokens_per_kwh"] is None
