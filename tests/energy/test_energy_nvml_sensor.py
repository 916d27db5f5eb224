"""Which power sensor a card has: how often it is new, and over how long it is a mean."""

import pytest
from nvml_stub import run_program, stub_variables

from joulelab.energy.nvidia_cards import logged_sensor

INSTANT, AVERAGE = "NVML_FI_DEV_POWER_INSTANT", "NVML_FI_DEV_POWER_AVERAGE"
ORDINARY = "nvmlDeviceGetPowerUsage"

QUARTER = "25 ms of every 100 ms"
SECOND = "mean of 1000 ms, new every 100 ms"
TENTH = "mean of 100 ms, new every 100 ms"
FIFTIETH = "10 ms of every 20 ms"
UNKNOWN = "assumed to be updated every 100 ms, averaged over an unknown time"

PASCAL, VOLTA, TURING, AMPERE, ADA, HOPPER, NEWER, OLD = 4, 5, 6, 7, 8, 9, 10, 3


@pytest.fixture(scope="module")
def every_card(nvml_library):
    """What the meter says of each field of each card: one program for all."""
    cards = [
        (PASCAL, "Tesla P100-PCIE-16GB"),
        (VOLTA, "Tesla V100-SXM2-32GB"),
        (TURING, "NVIDIA GeForce RTX 2080 Ti"),
        (AMPERE, "NVIDIA A100-SXM4-80GB"),
        (AMPERE, "NVIDIA A30"),
        (AMPERE, "NVIDIA GeForce RTX 3090"),
        (AMPERE, "NVIDIA RTX A3000"),
        (ADA, "NVIDIA L40S"),
        (HOPPER, "NVIDIA H200"),
        (NEWER, "NVIDIA B200"),
        (OLD, "GeForce GTX 980"),
    ]
    return run_program(
        f"""
for number, name in {cards!r}:
    stub(ARCH=number, NAME=name)
    for field, faults in {{"instant": {{}}, "average": {{}}, "ordinary": dict(FIELDS=3)}}.items():
        stub(**faults)
        meter = NvmlMeter(power_field=field if not faults else "instant")
        about, power = meter.describe(), meter.channels[1]
        out[f"{{name}} {{field}}"] = [
            about["gpu:0 power_field"], about["gpu:0 power_window"], power.tick_s,
            meter.interval_s, power.remark, meter.sample()[1].value,
        ]
        looks = power.sensor
        out[f"sensor {{name}} {{field}}"] = [looks.update_s, looks.averaging_s, looks.seen]
        meter.close()
        stub(**dict.fromkeys(faults))
stub(ARCHITECTURE=13)
meter = NvmlMeter()
out["no architecture"] = [meter.channels[1].tick_s, dict(meter.describe())]
""",
        stub_variables(nvml_library),
    )


@pytest.mark.parametrize(
    ("card", "instant", "ordinary"),
    [
        ("Tesla P100-PCIE-16GB", FIFTIETH, FIFTIETH),
        ("Tesla V100-SXM2-32GB", FIFTIETH, FIFTIETH),
        ("NVIDIA GeForce RTX 2080 Ti", TENTH, TENTH),
        ("NVIDIA A100-SXM4-80GB", QUARTER, QUARTER),
        ("NVIDIA A30", QUARTER, QUARTER),
        ("NVIDIA GeForce RTX 3090", TENTH, SECOND),
        ("NVIDIA RTX A3000", TENTH, SECOND),
        ("NVIDIA L40S", TENTH, SECOND),
        ("NVIDIA H200", QUARTER, SECOND),
        ("NVIDIA B200", UNKNOWN, SECOND),
        ("GeForce GTX 980", UNKNOWN, UNKNOWN),
    ],
)
def test_the_sensor_is_that_of_the_architecture(every_card, card, instant, ordinary):
    ticks_s = {FIFTIETH: 0.02, TENTH: 0.1, QUARTER: 0.1, UNKNOWN: 0.1, SECOND: 1.0}
    for asked, field, window, power_w in (
        ("instant", INSTANT, instant, 207.0),
        ("ordinary", ORDINARY, ordinary, 200.0),
    ):
        read, told, tick_s, interval_s, remark, value = every_card[f"{card} {asked}"]
        assert (read, told, value) == (field, window, power_w)
        assert tick_s == ticks_s[window]
        assert interval_s == (0.01 if window == FIFTIETH else 0.05)
        assert remark.startswith(f"{field} ({window}); ")


def test_the_average_field_is_a_mean_over_a_second_on_every_card(every_card):
    averages = {
        key: value
        for key, value in every_card.items()
        if key.endswith(" average") and not key.startswith("sensor ")
    }
    assert len(averages) == 11
    for read, window, tick_s, _, _, power_w in averages.values():
        assert (read, tick_s, power_w) == (AVERAGE, 1.0, 203.0)
        assert window.startswith("mean of 1000 ms")


def test_a_log_that_names_its_card_is_bound_like_a_live_reading(every_card):
    fields = {"power.draw": "ordinary", "power.draw.average": "average"}
    live = {key: value for key, value in every_card.items() if key.startswith("sensor ")}
    for column, field in fields.items():
        cards = [key.removesuffix(f" {field}") for key in live if key.endswith(f" {field}")]
        assert len(cards) == 11
        for card in cards:
            sensor = logged_sensor(column, card.removeprefix("sensor "))
            said = [sensor.update_s, sensor.averaging_s, sensor.seen]
            assert said == live[f"{card} {field}"], card


def test_a_driver_that_does_not_know_the_architecture_leaves_it_unknown(every_card):
    tick_s, about = every_card["no architecture"]
    assert tick_s == 0.1
    assert about["gpu:0 architecture"] == "unknown"
    assert about["gpu:0 power_window"] == UNKNOWN
