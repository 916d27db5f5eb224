"""Joules of tokens from the two parts of a window, over a sensor whose power is known."""

from types import SimpleNamespace

import numpy as np
import pytest

from joulelab.energy.measurement import Measurement
from joulelab.energy.meter import Channel
from joulelab.energy.reading import Reading, Status, total
from joulelab.energy.sample_buffer import ChannelSamples
from joulelab.kinds.generation.figures_of_run import run_figures
from joulelab.serving.generation.tasks import GENERATION, PREFILL, Generated, PartTimes

PREFILL_W, GENERATION_W, IDLE_W = 90.0, 60.0, 20.0
BATCH, PROMPT, OUTPUT = 4, 32, 11


def a_run(tick_s=0.1, prefill_s=4.0, generation_s=12.0):
    """Twenty prefills at 90 W, then ten generations at 60 W, read by a counter."""
    times_s = np.arange(0, prefill_s + generation_s + tick_s / 2, tick_s)
    energy_j = np.where(
        times_s < prefill_s,
        PREFILL_W * times_s,
        PREFILL_W * prefill_s + GENERATION_W * (times_s - prefill_s),
    )
    duration_s = prefill_s + generation_s
    channel = Channel("cpu:0", "stub", "counter", Status.MEASURED, 0.0, tick_s)
    reading = Reading(
        "cpu:0", "stub", Status.MEASURED, float(energy_j[-1]), None, IDLE_W, duration_s
    )
    measurement = Measurement("w", 0.0, duration_s, (reading,), len(times_s), tick_s)
    samples = [ChannelSamples(channel, times_s + 50, energy_j, tick_s)]
    middle_s = 50 + prefill_s
    generated = Generated(
        BATCH,
        PROMPT,
        OUTPUT,
        (
            PartTimes(PREFILL, 50.0, middle_s, np.full(20, prefill_s / 20), np.empty((0, 10))),
            PartTimes(
                GENERATION,
                middle_s,
                middle_s + generation_s,
                np.full(10, 0.2),
                np.full((10, 10), 0.1),
            ),
        ),
        7,
        12_345,
    )
    outcome = SimpleNamespace(measurement=measurement, samples=samples)
    return run_figures(generated, outcome, total([reading]))


def test_gross_joules_are_those_of_each_part():
    found = a_run()
    prefill_j, generation_j = PREFILL_W * 0.2, GENERATION_W * 1.2
    assert found["gross_per_prompt_token_j"] == pytest.approx(prefill_j / (BATCH * PROMPT))
    assert found["gross_per_output_token_j"] == pytest.approx(generation_j / (BATCH * OUTPUT))
    assert found["gross_per_decoded_token_j"] == pytest.approx(
        (generation_j - prefill_j) / (BATCH * (OUTPUT - 1))
    )
    assert found["gross_per_token_j"] == pytest.approx(generation_j / (BATCH * (PROMPT + OUTPUT)))
    assert found["parts_status"] == "measured"


def test_net_joules_are_without_the_idle_power_of_each_part():
    found = a_run()
    prefill_j, generation_j = (PREFILL_W - IDLE_W) * 0.2, (GENERATION_W - IDLE_W) * 1.2
    assert found["net_per_prompt_token_j"] == pytest.approx(prefill_j / (BATCH * PROMPT))
    assert found["net_per_output_token_j"] == pytest.approx(generation_j / (BATCH * OUTPUT))


def test_times_and_throughput_are_those_of_the_generations():
    found = a_run()
    assert found["prefill_s"] == pytest.approx(0.2)
    assert found["token_p50_s"] == found["token_p95_s"] == pytest.approx(0.1)
    assert found["tokens_per_s"] == pytest.approx(10 * BATCH * OUTPUT / 12)
    assert found["tokens"] == 10 * BATCH * OUTPUT
    assert found["peak_memory_bytes"] == 12_345


def test_a_part_shorter_than_two_ticks_is_an_estimate():
    assert a_run(tick_s=2.5)["parts_status"] == "estimated"
