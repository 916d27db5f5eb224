"""What the diagnosis says of machines with and without sensors."""

import itertools
import json
import os
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from fake_meter import FakeMeter, channel
from nvml_stub import run_program
from powercap_tree import Tree

from joulelab.energy.detection import Detector
from joulelab.energy.diagnosis import diagnose
from joulelab.energy.meter import Missing, meters
from joulelab.energy.reading import Status
from joulelab.errors import MeterError, UnknownNameError

NOBODY = 65534


class Machine(Detector):
    """A machine that a test makes up."""

    automatic = False
    channels: list = []  # noqa: RUF012 - set by the tests
    missing: list = []  # noqa: RUF012

    def detect(self):
        return [FakeMeter(*self.channels)] if self.channels else [], self.missing


@pytest.fixture(scope="module", autouse=True)
def made_up():
    meters.register("made-up")(Machine)


@pytest.fixture
def machine(monkeypatch):
    def make(*channels, missing=()):
        monkeypatch.setattr(Machine, "channels", list(channels))
        monkeypatch.setattr(Machine, "missing", list(missing))
        return diagnose(["made-up"], probe_s=0.05)

    return make


KEYS = ("intel-rapl:0", "intel-rapl:0:0", "intel-rapl:0:1")


@pytest.fixture
def still() -> Iterator[Tree]:
    """A powercap tree of one processor with memory, readable by others, that counts nothing."""
    with TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        tree = Tree(Path(folder))
        for key, name in zip(KEYS, ("package-0", "core", "dram"), strict=True):
            tree.add(key, name, 5_000_000)
        yield tree


@pytest.fixture
def tree(still: Tree) -> Iterator[Tree]:
    """The same with energy flowing into every counter."""
    with still.flowing(dict.fromkeys(KEYS, 20.0)):
        yield still


AS_NOBODY = """
from contextlib import suppress
from joulelab.energy.diagnosis import diagnose
os.environ.pop("JOULELAB_SETTINGS", None)
names = {names!r}
with suppress(Exception):
    diagnose(names, probe_s=0.0)  # Python itself may be closed to others
if os.getuid() == 0:
    os.setgroups([]); os.setgid({nobody}); os.setuid({nobody})
out["found"] = diagnose(names, probe_s=0.05).to_dict()
"""


def diagnosis(tree, names=None):
    """What a program of an ordinary user finds where RAPL is in that folder, and there is no GPU.

    The settings file is none, so that the settings of this machine do not count.
    """
    hidden = {"CUDA_VISIBLE_DEVICES": "", "XDG_CONFIG_HOME": "/nowhere", "HOME": "/nowhere"}
    program = AS_NOBODY.format(names=names, nobody=NOBODY)
    return run_program(program, hidden | {"JOULELAB_POWERCAP": str(tree.root)})["found"]


def close(tree, *keys):
    for key in keys:
        (tree.zones[key] / "energy_uj").chmod(0o400 if os.getuid() == 0 else 0)


def test_without_a_sensor_all_is_estimated(tmp_path):
    found = diagnosis(Tree(tmp_path), ["estimate"])
    assert found["verdict"] == "estimated"
    assert found["reason"].startswith("no sensor can be read; cpu:0")
    assert found["reason"].endswith("from processor time and memory")
    assert {one["channel"]["status"] for one in found["findings"]} == {"estimated"}
    assert all(one["power_w"] >= 0 for one in found["findings"])


def test_readable_counters_are_measured(tree):
    found = diagnosis(tree, ["rapl"])
    assert found["verdict"] == "measured"
    assert found["reason"] == "cpu:0, dram:0 by sensors"
    assert [one["channel"]["domain"] for one in found["findings"]] == ["cpu:0", "core:0", "dram:0"]
    assert [one["power_w"] for one in found["findings"]] == [pytest.approx(20, rel=0.5)] * 3
    assert found["missing"] == []
    assert found["meters"]["rapl"]["cpu:0"].startswith("package-0, intel-rapl:0, wraps at")


def test_counters_that_stand_still_are_said_to_be_no_measurement(still):
    """As in a virtual machine that shows them; 0 W would be a measured power."""
    for key in KEYS:
        still.set(key, 0)
    found = diagnosis(still, ["rapl"])
    assert (found["verdict"], found["findings"][0]["power_w"]) == ("missing", None)
    assert "cpu:0" in found["reason"]
    told = {one["domain"]: one for one in found["missing"]}
    assert "rapl: has not moved in" in told["cpu:0"]["reason"]
    assert "plug" in told["cpu:0"]["remedy"]


def test_a_counter_without_permission_makes_it_partly_estimated_and_says_what_to_do(tree):
    close(tree, "intel-rapl:0:1")
    found = diagnosis(tree, ["rapl", "estimate"])
    assert found["verdict"] == "partly estimated"
    assert found["reason"] == "cpu:0 by sensors, dram:0 from processor time and memory"
    (missing,) = found["missing"]
    assert missing["domain"] == "dram:0"
    assert "no permission to read" in missing["reason"]
    assert missing["remedy"].startswith(
        f"sudo chmod a+r {tree.root / 'intel-rapl:0:1' / 'energy_uj'}"
    )


def test_what_is_neither_measured_nor_estimated_is_said(tree):
    close(tree, "intel-rapl:0:1")
    found = diagnosis(tree, ["rapl"])
    assert found["reason"] == "cpu:0 by sensors, dram:0 not"


def test_cores_that_cannot_be_read_do_not_count_beside_their_processor(tree):
    close(tree, "intel-rapl:0:0")
    found = diagnosis(tree, ["rapl"])
    assert found["verdict"] == "measured"
    assert [one["domain"] for one in found["missing"]] == ["core:0"]


def test_without_any_permission_all_is_estimated_unless_the_sensor_was_asked_for(tree):
    close(tree, "intel-rapl:0", "intel-rapl:0:0", "intel-rapl:0:1")
    found = diagnosis(tree)
    assert found["verdict"] == "estimated" or found["findings"][0]["meter"] == "nvml"
    domains = [one["domain"] for one in found["missing"]]
    assert [name for name in domains if name in ("cpu:0", "core:0", "dram:0")] == [
        "cpu:0",
        "core:0",
        "dram:0",
    ]
    with pytest.raises(AssertionError, match="cannot read anything: no permission"):
        diagnosis(tree, ["rapl"])


def test_each_channel_has_a_power_of_its_own(machine):
    ticks = iter(range(10**6))
    found = machine(
        (channel(source="counter", tick_s=0.1), lambda: 1e-9 * next(ticks)),
        (channel(kind="power", source="average"), lambda: 120.0),
        (channel(kind="power", source="instant"), lambda: 150.0),
        (channel(kind="power", source="lost"), lambda: None),
    )
    powers = {one.channel.source: one.power_w for one in found.findings}
    assert powers["average"] == pytest.approx(120)
    assert powers["instant"] == pytest.approx(150)
    assert powers["counter"] == pytest.approx(0, abs=1e-3)
    assert powers["lost"] is None


def test_a_sensor_that_says_nothing_is_not_counted_as_measured(machine):
    found = machine((channel(), lambda: None), (channel("cpu:0", "power"), lambda: 30.0))
    assert (found.verdict, found.reason) == ("partly estimated", "cpu:0 by sensors, gpu:0 not")
    assert [one.power_w for one in found.findings] == [None, pytest.approx(30)]


def test_what_contains_the_rest_is_named_alone(machine):
    found = machine(
        (channel("wall", "power"), lambda: 200.0),
        (channel("gpu:0", "power", within=("wall",)), lambda: 90.0),
        (channel("cpu:0", "power", Status.ESTIMATED, within=("wall",)), lambda: 30.0),
    )
    assert (found.verdict, found.reason) == ("measured", "wall by sensors")


def test_all_of_it_can_be_written_as_json(machine):
    missing = [Missing("dram", "no such sensor", "buy one")]
    joules = itertools.count()
    found = machine((channel(within=("wall",)), lambda: next(joules)), missing=missing)
    data = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert data["findings"][0]["channel"]["status"] == "measured"
    assert data["missing"] == [{"domain": "dram", "reason": "no such sensor", "remedy": "buy one"}]
    assert data["verdict"] == "partly estimated"
    assert set(data["machine"]) == {"system", "processor", "python"}
    assert data["libraries"]["numpy"]


def test_meters_that_need_a_name_are_listed_unless_they_were_named(machine):
    found = machine((channel(kind="power"), lambda: 5.0))
    assert "made-up" not in found.unused
    assert found.unused["replay"].startswith("a recorded power trace")
    assert "made-up" in diagnose(["estimate"], probe_s=0.01).unused


def test_a_meter_that_nobody_knows_or_that_finds_nothing_is_refused(machine):
    with pytest.raises(UnknownNameError):
        diagnose(["rappl"], probe_s=0.01)
    with pytest.raises(MeterError, match=r"(?s)cannot read anything: unplugged.*plug it in"):
        machine(missing=[Missing("wall", "unplugged", "plug it in")])
