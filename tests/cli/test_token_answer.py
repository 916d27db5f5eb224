"""Joules per token, from meters to the answer."""

import json
import time
from dataclasses import replace

import pytest
from fake_plug import FakePlug
from token_loads import Load, constant, even, served

from joulelab.cli.token_answer import energy_of_tokens, token_answer, token_data, token_parts
from joulelab.energy.detection import open_recorder
from joulelab.energy.meters.prometheus import named
from joulelab.present.terminal import to_text
from joulelab.serving.tokens.energy import token_energy

POWER_W, GAP_S, TOKENS = 150.0, 0.05, 4
BY_HAND_J = POWER_W * GAP_S / TOKENS


class CountingPage(FakePlug):
    """The page of DCGM's exporter on a server that draws a constant power."""

    def reply(self, path, query, headers):
        name, now_j = "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION", POWER_W * time.monotonic()
        return 200, f'# TYPE {name} counter\n{name}{{gpu="0",UUID="a"}} {1e3 * now_j:.0f}\n', {}


@pytest.fixture
def paged():
    """The name of a meter that reads such a page."""
    with CountingPage() as page:
        yield f"{named(f'http://{page.address}/metrics')}?update_s=0.01&poll_s=0.02&node=box"


@pytest.fixture
def replayed(tmp_path):
    """The name of a meter that plays a constant power."""
    path = tmp_path / "constant.csv"
    rows = [f"{0.02 * row:.2f},{POWER_W}" for row in range(3000)]
    path.write_text("\n".join(["time_s,power_w", *rows]) + "\n")
    return f"replay:{path}?time=time_s&power=power_w&domain=gpu:0"


def measured_load(meter):
    """Joules per token of a constant load, as a meter sees it."""
    with open_recorder([meter], interval_s=0.02) as recorder:
        window = recorder.open("load")
        start_s = time.monotonic() + 0.05
        time.sleep(3.0)
        duration_s = time.monotonic() - start_s
        measurement = window.close()
    count = int((duration_s - 0.3) / GAP_S)
    flow = even(count, GAP_S, output=TOKENS, to_first_s=0.05, answer_s=0.2)
    found = energy_of_tokens(flow, measurement, window.channel_samples, start_s)
    assert found.window.steady, found.window.reason
    return found


def test_a_constant_load_through_the_replay_meter_is_within_half_a_percent(replayed):
    found = measured_load(replayed)
    assert found.per_output_token.gross.value == pytest.approx(BY_HAND_J, rel=0.005)
    assert token_answer(found).startswith("1.88 J per output token")


def test_a_server_on_another_machine_is_measured_by_its_page(paged, monkeypatch):
    monkeypatch.setattr("joulelab.energy.meters.prometheus.SLOW_S", 0.05)  # a tick of the page
    found = measured_load(paged)
    cost = found.per_output_token
    assert abs(cost.gross.value - BY_HAND_J) <= cost.bound_j
    assert cost.gross.value == pytest.approx(BY_HAND_J, rel=0.1)
    assert found.total.domains == ("box/gpu:0",)
    assert [one.name for one in found.costs] == ["total"]


def test_the_answer_says_energy_interval_status_and_meter():
    flow, course = served(Load(duration_s=60.0), 3)
    found = token_energy(flow, [replace(course, error_j=300.0)], 0.0)
    said = token_answer(found)
    low, high = found.per_output_token.gross.low, found.per_output_token.gross.high
    assert f"({low:.2f} to {high:.2f} J)" in said
    assert "measured, meter ±" in said
    assert "without idle power" in said


def test_an_estimate_is_about_and_says_what_it_could_be():
    courses = [constant(150.0, 120.0, status="estimated", error_j=18_000.0)]
    said = token_answer(token_energy(even(200), courses, 0.0))
    assert said.startswith("about 3.7")
    assert "estimated, could be up to 7.5" in said


def test_the_parts_show_units_devices_and_costs_apart():
    flow, course = served(Load(duration_s=120.0), 3)
    courses = [course, constant(40.0, 140.0, domain="cpu:0", start_s=-1.0, idle_w=20.0)]
    text = to_text(*token_parts(token_energy(flow, courses, 0.0), 300.0))
    for wanted in ("per request", "Wh", "output tokens per kWh", "CO2e", "GPU", "processor"):
        assert wanted in text
    assert "one more prompt token" in text


def test_the_parts_say_what_is_unknown():
    flow, course = served(Load(duration_s=3.0), 3)
    text = to_text(*token_parts(token_energy(flow, [course], 0.0)))
    assert "no steady window" in text
    nothing = to_text(*token_parts(token_energy(flow, [], 0.0)))
    assert nothing.startswith("energy per output token unknown: the energy is unknown")


def test_the_data_are_plain_and_whole():
    flow, course = served(Load(duration_s=60.0), 3)
    found = token_energy(flow, [course], 0.0)
    data = json.loads(json.dumps(token_data(found, 300.0)))
    assert data["costs"][0]["per"]["output token"]["gross"]["value"] > 0
    assert data["compared"]["g_co2e_per_million_output_tokens"] > 0
    assert data["window"]["steady"]
