"""CUDA_VISIBLE_DEVICES says which GPUs count, as CUDA reads it; what cannot be told is said."""

import pytest

from joulelab.energy.command import environments_of
from joulelab.energy.meters.visible_gpus import Card, visible

FOUR = [Card(n, f"GPU-5e1f000{n}-1111", "H100", f"0000000{n}:00:00.0") for n in range(4)]
MIXED = [Card(0, "GPU-aaaa", "T400", "00:01"), Card(1, "GPU-aabb", "H100", "00:02")]
SPLIT = [Card(0, "GPU-aaaa", "H100"), Card(1, "GPU-bbbb", "H100", split=True)]


def seen(text, cards=FOUR, order=None, **more):
    environment = {"CUDA_VISIBLE_DEVICES": text} | ({"CUDA_DEVICE_ORDER": order} if order else {})
    found = visible(environment, cards, **more)
    return None if found.indices is None else sorted(found.indices)


@pytest.mark.parametrize(
    ("text", "indices"),
    [
        ("1", [1]),
        ("2,0", [0, 2]),
        (" 2 , 0 ", [0, 2]),
        ("0,1,2,3", [0, 1, 2, 3]),
        ("", []),
        ("-1", []),
        ("NoDevFiles", []),
        ("0,-1,1", [0]),
        ("0,7,1", [0]),
        ("0,,1", [0]),
        ("1gpu,2", [1, 2]),
        ("0,0", []),
        ("GPU-5e1f0001-1111", [1]),
        ("gpu-5E1F0001", [1]),
        ("GPU-5e1f0003,GPU-5e1f0000", [0, 3]),
        ("GPU-5e1f", []),  # four cards begin so
        ("GPU-5e1f0002,1", [2]),
        ("GPU-dead,GPU-5e1f0002", []),
        ("GPU-5e1f0002,GPU-5e1f0002-1111", []),
        ("MIG-GPU-5e1f0002-1111/1/0,MIG-GPU-5e1f0002-1111/2/0", [2]),
    ],
)
def test_a_list_is_read_as_cuda_reads_it(text, indices):
    assert seen(text) == indices


def test_without_the_variable_all_are_visible():
    assert visible({}, FOUR).indices == {0, 1, 2, 3}


def test_cuda_counts_along_the_bus_and_nvml_may_not():
    swapped = [Card(0, "GPU-a", "H100", "00:02"), Card(1, "GPU-b", "H100", "00:01")]
    assert seen("0", swapped) == [1]


def test_where_models_differ_a_number_is_known_only_along_the_bus():
    assert seen("0", MIXED) is None
    assert "PCI_BUS_ID" in visible({"CUDA_VISIBLE_DEVICES": "0"}, MIXED).why
    assert seen("0", MIXED, "PCI_BUS_ID") == [0]
    assert seen("GPU-aabb", MIXED) == [1]
    assert seen("1,0", MIXED) == [0, 1]
    assert seen("", MIXED) == []


def test_an_instance_is_a_part_of_the_card_that_holds_it():
    assert seen("MIG-90aa", SPLIT) == [1]
    two = [Card(n, f"GPU-{n}", "H100", split=True) for n in range(2)]
    assert seen("MIG-90aa", two) is None
    assert seen("MIG-90aa", two, card_of_instance=lambda _: 0) == [0]
    assert seen("0", SPLIT) is None


OUTER = {"CUDA_VISIBLE_DEVICES": "3", "HOME": "/"}


@pytest.mark.parametrize(
    ("command", "values"),
    [
        (["python", "x.py"], ["3"]),
        (["env", "CUDA_VISIBLE_DEVICES=1", "python", "x.py"], ["1"]),
        (["/usr/bin/env", "-u", "CUDA_VISIBLE_DEVICES", "python"], [None]),
        (["env", "-i", "python"], [None]),
        (["env", "-uCUDA_VISIBLE_DEVICES", "A=b", "python"], [None]),
        (["nice", "-n", "5", "env", "CUDA_VISIBLE_DEVICES=", "python"], [""]),
        (["python", "x.py", "env", "CUDA_VISIBLE_DEVICES=1"], ["3"]),
        (["bash", "-c", "CUDA_VISIBLE_DEVICES=1 python x.py"], ["1"]),
        (["bash", "-lc", "cd /tmp && exec env CUDA_VISIBLE_DEVICES=1 python"], ["1"]),
        ("CUDA_VISIBLE_DEVICES=0,1 python x.py > log 2>&1", ["0,1"]),
        ("export CUDA_VISIBLE_DEVICES=1; python x.py", ["1"]),
        ("CUDA_VISIBLE_DEVICES=1; export CUDA_VISIBLE_DEVICES; python x.py", ["1"]),
        ("GPU=2; CUDA_VISIBLE_DEVICES=$GPU python x.py", ["2"]),
        ("CUDA_VISIBLE_DEVICES=$(free_gpu) python x.py", [None]),
        ("echo on; CUDA_VISIBLE_DEVICES=1 python x.py | tee log", ["1"]),
        ("cd /tmp; CUDA_VISIBLE_DEVICES=1 sleep 1", ["1"]),
        ("CUDA_VISIBLE_DEVICES=1 sleep 1", ["1"]),
        ("unset CUDA_VISIBLE_DEVICES && python x.py", [None]),
        ("CUDA_VISIBLE_DEVICES=1 python x.py && python y.py", ["1", "3"]),
        ("python 'x.py", ["3"]),
    ],
)
def test_the_environment_of_a_command_is_what_its_words_make_it(command, values):
    found = environments_of(command, OUTER)
    assert [one.get("CUDA_VISIBLE_DEVICES") for one in found] == values


MEASURE = """
import sys
from joulelab.energy.command import run_command
from joulelab.energy.measuring import measure
from joulelab.energy.monitor import Monitor

def said(measurement):
    flags = [flag for flag in measurement.flags if "CUDA" in flag or "hidden" in flag]
    return [list(measurement.total.domains), list(measurement.left_out), flags]

def counted(**options):
    with Monitor(meters=options.pop("meters", ["nvml"]), **options) as monitor:
        with monitor.measure() as m:
            time.sleep(0.02)
        return said(m.result)

def ran(monitor, *words):
    return said(run_command(words if len(words) > 1 else words[0], monitor, "").measurement)
"""


def test_hidden_gpus_are_read_and_named_and_do_not_count(scenario):
    out = scenario(
        MEASURE
        + """
out["all"] = counted()
os.environ["CUDA_VISIBLE_DEVICES"] = "1"
out["one"] = counted()
out["named domains"] = counted(domains=["gpu:0"])
out["named gpus"] = counted(meters=["nvml?gpus=0,2"])
os.environ["CUDA_VISIBLE_DEVICES"] = "GPU-ABCD0000,GPU-ABCD0002"
out["uuids"] = counted()
stub(NAME="")
os.environ["CUDA_VISIBLE_DEVICES"] = "1"
out["mixed"] = counted()
del os.environ["CUDA_VISIBLE_DEVICES"]
stub(NAME="H100")
with Monitor(meters=["nvml"]) as monitor:
    python = sys.executable
    out["command"] = ran(monitor, "env", "CUDA_VISIBLE_DEVICES=1", python, "-c", "")
    out["line"] = ran(monitor, f"CUDA_VISIBLE_DEVICES=1 {python} -c ''; true")
    both = f"CUDA_VISIBLE_DEVICES=0 {python} -c ''; CUDA_VISIBLE_DEVICES=1 {python} -c ''"
    out["both"] = ran(monitor, both)
    out["after"] = ran(monitor, python, "-c", "")
""",
        GPUS=3,
        NAME="H100",
        TRACE="constant",
    )
    everything = ["gpu:0", "gpu:1", "gpu:2"]
    assert out["all"] == [everything, [], []]
    note = "CUDA_VISIBLE_DEVICES=1 hides from the measured program, not counted: gpu:0, gpu:2"
    assert out["one"] == [["gpu:1"], ["gpu:0", "gpu:2"], [note]]
    assert out["named domains"] == [["gpu:0"], [], []]
    assert out["named gpus"] == [["gpu:0", "gpu:2"], [], []]
    assert out["uuids"][0] == ["gpu:0", "gpu:2"]
    domains, left_out, [why] = out["mixed"]
    assert (domains, left_out) == (everything, [])
    assert why.startswith("all GPUs count: what CUDA_VISIBLE_DEVICES=1 hides is unknown")
    assert out["command"] == out["one"]
    assert out["line"] == out["one"]
    assert out["both"] == [
        ["gpu:0", "gpu:1"],
        ["gpu:2"],
        ["hidden from the measured program, not counted: gpu:2"],
    ]
    assert out["after"] == [everything, [], []]
