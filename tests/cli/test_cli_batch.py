"""``joulelab batch`` as its users call it: from a saved table, and with a model that is served."""

import json
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from functools import partial

import numpy as np
import psutil
import pytest

from joulelab.cli import batching
from joulelab.energy.reading import Status, Total
from joulelab.kinds.inference import schedule
from joulelab.kinds.inference.batch_table import BatchTable, SizeProfile, read_table, write_table
from joulelab.kinds.inference.table_measuring import BatchWork
from joulelab.serving.arrivals import parse_arrivals
from joulelab.serving.planning.comparison import ResponseLimit, Trials
from joulelab.serving.planning.fleet import fleet
from joulelab.serving.planning.plan import plan

SIZES = (1, 4, 16)
SECONDS = (0.0050, 0.0075, 0.0190)
JOULES = (0.60, 0.80, 1.75)
IDLE_W = 40.0
BATCHES = 100

NETS = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, most=None):
        super().__init__()
        torch.set_num_threads(1)
        self.most, self.layer = most, nn.Linear(3 * 16 * 16, 4)

    def forward(self, images):
        if self.most is not None and len(images) > self.most:
            raise ValueError("a table is too small")
        return self.layer(images.flatten(1))

def tiny():
    return Net()

def failing():
    return Net(0)
"""


def told(out):
    """What was printed, whatever its lines are."""
    return " ".join(out.split())


POLICY = """
from dataclasses import dataclass
from joulelab.serving.policies import Policy, policies

@policies.register("pairs")
@dataclass(frozen=True)
class Pairs(Policy):
    \"\"\"Two at a time, or one after a while.\"\"\"

    largest = 2

    def take(self, waiting, oldest_wait_s):
        return 2 if waiting > 1 else int(oldest_wait_s > 0.01)

    def patience_s(self, waiting, oldest_wait_s):
        return 0.011 - oldest_wait_s
"""


def saved(path, status=Status.MEASURED, **changed):
    """A table of known numbers in a file."""
    windows = []
    for size, seconds, net_j in zip(SIZES, SECONDS, JOULES, strict=True):
        duration_s = BATCHES * seconds
        gross_j = BATCHES * net_j + IDLE_W * duration_s
        energy = Total(status, gross_j, IDLE_W * duration_s, 0.05 * gross_j, ("gpu:0",), ("nvml",))
        if status is Status.MISSING:
            energy = Total(status, None, None, None, (), ())
        windows.append(SizeProfile(size, size, BATCHES, seconds, 0.0, duration_s, energy))
    table = BatchTable(
        model="resnet50",
        weights="random",
        machine="A Card",
        device="cuda:0",
        threads=4,
        images="photographs",
        resize=256,
        crop=224,
        measured_at="2026-01-01T00:00:00+0000",
        windows=tuple(windows),
    )
    write_table(path, replace(table, **changed))
    return path


@pytest.fixture(autouse=True)
def few_windows(monkeypatch):
    """Policies are simulated in fewer windows; how many there are is tested with the planner."""
    monkeypatch.setattr(batching, "Trials", partial(Trials, windows=2))
    monkeypatch.setattr(batching, "fleet", partial(fleet, trials=Trials(windows=1)))


@pytest.fixture
def table(tmp_path):
    """A file with a table of known numbers."""
    return saved(tmp_path / "table.json")


@pytest.fixture
def own_folder(tmp_path, monkeypatch):
    """The current folder, with a module of the user's."""
    (tmp_path / "own_nets.py").write_text(NETS)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_a_plan_from_a_table_is_that_of_the_planner(joulelab, table):
    code, out, _ = joulelab("batch", "--table", table, "--rate", 50, "--p99", "200ms", "--json")
    data = json.loads(out)
    limit, trials = ResponseLimit(99, 0.2), Trials(windows=2)
    made = plan(read_table(table).costs, parse_arrivals("poisson(50)"), limit, trials=trials)
    assert code == data["exit_code"] == 0
    assert data["schema_version"] == 1
    (found,) = data["plans"]
    assert found["best"] == made.best.policy != "fixed(1)"
    assert found["saving"] == made.saving > 0.2
    assert found["candidates"][0]["policy"] == "fixed(1)"
    assert found["candidates"][0]["gross_j_per_request"] == pytest.approx(0.6 + 40 / 50, rel=0.03)
    assert [one["policy"] for one in found["candidates"]] == [one.policy for one in made.outcomes]
    sizes = data["table"]["sizes"]
    assert [one["size"] for one in sizes] == list(SIZES)
    assert sizes[-1]["net_j_per_image"] == pytest.approx(1.75 / 16)
    assert sizes[-1]["gross_j_per_image"] == pytest.approx((1.75 + 0.019 * IDLE_W) / 16)
    assert data["idle_w"] == pytest.approx(IDLE_W)
    assert found["power"]["power_w"] == pytest.approx(
        IDLE_W + 50 * np.mean(made.best.net_j_per_request)
    )


def test_the_answer_is_a_sentence_and_fits_a_terminal(joulelab, table):
    code, out, err = joulelab("batch", "resnet50", "--table", table, "--rate", 50, "--p99", "200ms")
    assert code == 0, err
    sentence = (
        r"resnet50 at poisson\(50\) within p99 ≤ 0.20 s: fixed\(\d+, wait_ms=[\d.]+\) needs "
        r"0.9\d J per request \(p99 0.1\d s\), 3\d % less than batch 1 \(1.4\d J, p99 [\d.]+ ms\)"
    )
    assert re.match(sentence, told(out))
    assert "\nresnet50 on A Card\n" in out
    assert "energies are measured (nvml), within 5 %" in out
    assert max(len(line) for line in out.splitlines() if "─" in line or "policy" in line) <= 80


def shaky(path, scatter):
    """A table in which every size was measured twice, that much above and below its mean."""
    whole = read_table(saved(path))
    windows = [
        replace(one, energy=replace(one.energy, gross_j=one.energy.gross_j * (1 + sign * scatter)))
        for sign in (-1, 1)
        for one in whole.windows
    ]
    write_table(path, replace(whole, windows=tuple(windows)))
    return path


def test_a_saving_that_may_be_chance_leaves_the_quickest_policy_to_be_run(joulelab, tmp_path):
    sure, unsure = (
        json.loads(joulelab("batch", "--table", path, "--rate", 50, "--p99", "200ms", "--json")[1])
        for path in (shaky(tmp_path / "sure.json", 0.02), shaky(tmp_path / "unsure.json", 0.40))
    )
    (plan_sure,), (plan_unsure,) = sure["plans"], unsure["plans"]
    assert plan_sure["undecided"] is None or plan_sure["undecided"] < 0.02
    assert plan_unsure["least"] == plan_sure["least"] != "fixed(1)"
    held = [one for one in plan_unsure["candidates"] if one["holds"]]
    quickest = min(held, key=lambda one: one["response_s"])
    assert plan_unsure["best"] == quickest["policy"] != plan_unsure["least"]
    said = plan_unsure["in_words"]
    name = "batch 1" if quickest["policy"] == "fixed(1)" else quickest["policy"]
    assert f"within p99 ≤ 0.20 s: {name} needs " in said
    assert ", which cannot be told from batch 1 (1.4" in said
    less = rf"; {re.escape(plan_unsure['least'])} would need 3\d\.\d % less \(p99 0\.1\d s\)"
    assert re.search(
        less + r", which may be chance: windows of one size differ by up to 40 %", said
    )
    # Two windows each way by .4: s^2 = .32, and 2 * 2.8^2 * .32 / .35^2 / 2 = 20 times.
    assert re.search(r"; about 2\d times the --patience would tell$", said)


def test_several_rates_make_a_table_over_rates(joulelab, table):
    arguments = ("--rate", "10,50", "--rate", "600", "--p99", "200ms")
    code, out, _ = joulelab("batch", "--table", table, *arguments)
    assert code == 0
    rows = [line for line in out.splitlines() if re.match(r" *[\d.,]+/s ", line)]
    assert [row.split()[0] for row in rows] == ["10.0/s", "50.0/s", "600/s"]
    assert "saturated" in rows[2]
    assert "batch 1 (0.80 J) cannot keep up: at most 200/s" in told(out)


def test_the_arrivals_of_a_trace_are_planned_for(joulelab, table, tmp_path):
    times = np.cumsum(np.random.default_rng(1).exponential(1 / 40, 3000))
    (tmp_path / "times.csv").write_text("t_s\n" + "\n".join(f"{one:.6f}" for one in times))
    arrivals = f"trace({tmp_path / 'times.csv'})"
    code, out, _ = joulelab(
        "batch", "--table", table, "--arrivals", arrivals, "--p95", "100ms", "--json"
    )
    (found,) = json.loads(out)["plans"]
    assert code == 0
    assert found["rate_per_s"] == pytest.approx(40, rel=0.1)
    assert found["limit"] == {"percentile": 95, "seconds": 0.1}


def test_more_than_can_be_answered_is_said_with_the_replicas_it_needs(joulelab, table):
    code, out, _ = joulelab("batch", "--table", table, "--rate", 2000, "--p99", "200ms")
    assert code == 4
    assert "saturated, more arrives than can be answered: at most 842/s" in told(out)
    assert re.search(r"; [34] replicas would answer all with p99 within 0\.20 s", told(out))


def test_a_limit_that_cannot_be_held_names_the_quickest_policy(joulelab, table):
    code, out, _ = joulelab("batch", "--table", table, "--rate", 50, "--p99", "4ms", "--json")
    data = json.loads(out)
    assert code == data["exit_code"] == 4
    (found,) = data["plans"]
    assert (found["best"], found["saving"], found["replicas_needed"]) == (None, None, None)
    assert "no policy meets p99 within 4.00 ms; the quickest is " in found["in_words"]
    assert "no number of replicas meets p99 within 4.00 ms" in found["in_words"]
    _, out, _ = joulelab("batch", "--table", table, "--rate", 50, "--p99", "1us")
    assert "no policy meets p99 within 1.00 \N{MICRO SIGN}s; the quickest is " in told(out)


def test_without_a_limit_the_fewest_joules_win_and_their_p99_is_told(joulelab, table):
    code, out, _ = joulelab("batch", "--table", table, "--rate", 50, "--json")
    (found,) = json.loads(out)["plans"]
    assert code == 0
    assert (found["best"], found["limit"]) == ("fixed(16)", None)
    assert re.search(r"at poisson\(50\): fixed\(16\) needs .* \(p99 0\.\d\d s\)", found["in_words"])


def test_a_choice_that_would_wait_for_ever_is_said_with_one_that_would_not(joulelab, table):
    code, out, _ = joulelab("batch", "--table", table, "--rate", 150, "--p99", "200ms", "--json")
    data = json.loads(out)
    (found,) = data["plans"]
    assert code == 0
    assert found["best"] == "fixed(16)"
    (warning,) = [one for one in data["warnings"] if "without end" in one]
    safe = re.fullmatch(
        r"fixed\(16\) waits without end when requests stop coming; (.*) does not, for .* J per "
        r"request",
        warning,
    )[1]
    (known,) = [one for one in found["candidates"] if one["policy"] == safe]
    assert known["holds"]
    assert "wait_ms" in safe


def test_three_remarks_are_shown_and_the_others_on_request(joulelab, tmp_path):
    remarks = tuple(f"remark {number}" for number in range(5))
    table = saved(tmp_path / "table.json", status=Status.ESTIMATED, remarks=remarks)
    arguments = ("batch", "--table", table, "--rate", 5)
    few, every = joulelab(*arguments)[1], joulelab(*arguments, "-v")[1]
    above, *_ = told(few).split(" more remarks: -v shows them")
    assert int(above.split()[-1]) == told(every).count("remark ") + 2 - 3
    assert few.count("remark ") < 3
    assert every.count("remark ") == 5


def test_replicas_share_a_rate_and_their_power_is_told(joulelab, table):
    arguments = ("--p99", "200ms", "--place", "300", "--pue", 1.2, "--json")
    _, alone, _ = joulelab("batch", "--table", table, "--rate", 50, *arguments)
    _, shared, _ = joulelab("batch", "--table", table, "--rate", 150, "--replicas", 3, *arguments)
    (one,), (three,) = (json.loads(text)["plans"] for text in (alone, shared))
    assert three["candidates"] == one["candidates"]
    assert (three["rate_per_s"], three["replicas"]) == (150, 3)
    assert three["power"]["power_w"] == pytest.approx(3 * one["power"]["power_w"])
    kg = 3 * one["power"]["power_w"] * 1.2 * 86400 / 3.6e6 * 0.3
    assert three["power"]["co2e_kg_per_day"] == pytest.approx(kg)


def test_a_fleet_is_as_large_as_its_rate_needs(joulelab, table):
    code, out, _ = joulelab(
        "batch", "--table", table, "--fleet", "2000", "--p99", "200ms", "--place", "300"
    )
    assert code == 0
    assert re.search(r"resnet50 at 2,000/s within p99 ≤ 0.20 s: 3 replicas with \S+: ", told(out))
    assert re.search(
        r"kg CO2e a day; batch 1 needs 11 replicas, \d\d\.?\d* % less power", told(out)
    )


def test_policies_of_ones_own_are_considered(joulelab, table, tmp_path):
    (tmp_path / "pairs.py").write_text(POLICY)
    arguments = ("--rate", 50, "--p99", "200ms", "--plugin", tmp_path / "pairs.py")
    own = ("--policy", "pairs", "--policy", "fixed(5, 20)", "--policy", "greedy(64)")
    code, out, _ = joulelab("batch", "--table", table, *arguments, *own)
    assert code == 0
    rows = [line.split() for line in out.splitlines() if line.rstrip().endswith("yours")]
    assert [row[0] for row in rows] == ["pairs", "fixed(5,"]
    assert "greedy(64) is left out: batches up to 16 were measured; --largest 64" in told(out)


def test_without_energy_policies_are_compared_by_time(joulelab, tmp_path):
    path = saved(tmp_path / "table.json", Status.MISSING)
    code, out, _ = joulelab("batch", "--table", path, "--rate", 50, "--p99", "200ms", "--json")
    data = json.loads(out)
    assert code == 0
    assert data["plans"][0]["account"] == "time"
    assert data["idle_w"] is None
    assert any("no energy is known" in one for one in data["warnings"])
    assert not any("energies are" in one for one in data["uncertainty"])


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["resnet18"], "at which rate"),
        (["--rate", "50"], "which model?"),
        (["resnet81", "--rate", "50"], "did you mean 'resnet18'?"),
        (["resnet18", "--rate", "0"], "--rate '0' is not a rate"),
        (["resnet18", "--rate", "10,,20"], "--rate '' is not a rate"),
        (["resnet18", "--rate", "nan"], "is not a rate"),
        (["resnet18", "--rate", "50", "--p99", "200"], "--p99 '200' is not a time"),
        (["resnet18", "--rate", "50", "--p99", "1s", "--p50", "1s"], "a plan keeps one limit"),
        (["resnet18", "--rate", "50", "--policy", "gredy(3)"], "did you mean 'greedy'?"),
        (["resnet18", "--arrivals", "poison(3)"], "did you mean 'poisson'?"),
        (["resnet18", "--fleet", "1000"], "--fleet needs a limit"),
        (["resnet18", "--rate", "50", "--device", "tpu"], "--device 'tpu' is not a device"),
        (["resnet18", "--rate", "50", "--weights", "mine"], "'mine'"),
        (["resnet18", "--rate", "50", "--place", "Atlantis"], "Atlantis"),
        (["resnet18", "--rate", "50", "--pue", "0.5"], "PUE of 0.5"),
        (["resnet18", "--rate", "50", "--images", "folder:nowhere"], "nowhere does not exist"),
        (["resnet18", "--rate", "50", "--save", "no/folder/t.json"], "no folder"),
        (["resnet18", "--rate", "50", "--table", "nowhere.json"], "nowhere.json cannot be read"),
        (["resnet18", "--rate", "50", "--domain", "gpu:77"], "gpu:77 cannot be read here"),
        (["no_such_nets:tiny", "--rate", "50"], "no module no_such_nets"),
        (["own_nets:", "--rate", "50"], "does not name a function"),
    ],
)
def test_what_cannot_be_answered_is_refused_before_anything_is_measured(
    joulelab, own_folder, monkeypatch, arguments, said
):
    def never(_):
        raise AssertionError("a model was loaded")

    monkeypatch.setattr(schedule.Schedule, "run", never)
    code, out, err = joulelab("batch", *arguments)
    assert code == 2, err
    assert out == ""
    assert said in err


def test_a_table_of_another_model_is_refused(joulelab, table):
    code, _, err = joulelab("batch", "resnet18", "--table", table, "--rate", 50)
    assert code == 2
    assert "the table is of resnet50, not of resnet18" in err


def test_a_model_of_ones_own_is_measured_and_planned(joulelab, own_folder, monkeypatch, in_threads):
    # Two short windows of each size; a rate and patience that a busy machine can meet too.
    short = {"LEAST_IDLE_S": 0.3, "LEAST_WINDOW_S": 0.1, "MOST_ROUNDS": 2}
    for name, value in short.items():
        monkeypatch.setattr(schedule, name, value)
    monkeypatch.setattr(BatchWork, "window_lengths", (1,))
    arguments = ("--crop", 16, "--rate", 2, "--p99", "20s", "--patience", "120s", "--largest", 4)
    code, out, err = joulelab(
        "batch", "own_nets:tiny", *arguments, "--threads", 1, "--save", "t.json", "--json"
    )
    data = json.loads(out)
    assert code == 0, err
    made = read_table(own_folder / "t.json")
    assert [one.size for one in made.sizes] == [1, 2, 4]
    assert data["table"]["sizes"][0]["gross_j_per_image"] == made.sizes[0].gross_j_per_image > 0
    assert (made.model, made.crop, made.images) == ("own_nets:tiny", 16, "photographs")
    assert made.sizes[0].energy.status is Status.ESTIMATED
    assert "no sensor was read" in " ".join(data["warnings"])
    assert "trying batches of 4" in err
    again, out, _ = joulelab("batch", "--table", "t.json", "--rate", 2, "--p99", "20s", "--json")
    assert again == 0
    assert json.loads(out)["plans"] == data["plans"]


def test_a_model_that_fails_ends_the_command_with_its_message(joulelab, own_folder, in_threads):
    code, out, err = joulelab("batch", "own_nets:failing", "--rate", 20, "--crop", 16)
    assert code == 1
    assert out == ""
    assert "the model own_nets:failing failed on a batch of 1: ValueError: a table is too" in err


def interrupted_at(folder, words):
    """Measuring that is sent a Ctrl-C once it says so: exit code, outputs, and who is left."""
    command = [sys.executable, "-c", "from joulelab.cli import main; main()", "batch"]
    command += ["own_nets:tiny", "--crop", "16", "--rate", "20", "--patience", "8s"]
    process = subprocess.Popen(
        [*command, "--device", "cpu", "--threads", "1", "--largest", "1"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=folder,
    )
    heard = ""
    for line in process.stderr:
        heard += line
        if words in line:
            break
    children = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGINT)
    out, rest = process.communicate(timeout=30)
    left_s = time.monotonic() + 5
    while any(one.is_running() for one in children) and time.monotonic() < left_s:
        time.sleep(0.05)
    return process.returncode, out, heard + rest, [one for one in children if one.is_running()]


@pytest.mark.long
def test_ctrl_c_while_measuring_plans_from_what_there_is(own_folder):
    code, out, err, left = interrupted_at(own_folder, "round 2")
    assert code == 130, err
    assert "own_nets:tiny at poisson(20): batch 1 needs" in told(out)
    assert "interrupted: planned from what had been measured" in told(out)
    assert not left


def test_ctrl_c_before_batch_1_was_measured_ends_with_one_line(own_folder):
    code, out, err, left = interrupted_at(own_folder, "loading the model")
    assert (code, out) == (130, "")
    assert err.splitlines()[-1] == "interrupted before batch 1 was measured: nothing to plan from"
    assert not left
