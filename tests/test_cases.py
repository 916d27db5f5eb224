"""Small inputs after public bug reports and formats, each against its truth.

The folder is that of `JOULELAB_CASES`, or `shared/cases` beside the repository; its README says
what each file is and what it holds.
"""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from joulelab.replication.runs_table import read_runs
from joulelab.serving.arrivals import parse_arrivals

CASES = Path(os.environ.get("JOULELAB_CASES", Path(__file__).parents[2] / "shared" / "cases"))
FILES = sorted(path.name for path in CASES.glob("*") if path.suffix != ".md")
if not FILES:
    pytest.skip(f"no cases at {CASES}: set JOULELAB_CASES", allow_module_level=True)
WITH_UNCOVERED_HOURS = ("carbon-watttime.csv", "carbon-entsoe.csv")
KG_G = (22.25, 22.6)
"""360 kJ from half past nine: .231 and .214, or .214 and .250 kg/kWh, half an hour each."""


@pytest.fixture
def joulelab(joulelab, monkeypatch):
    """Runs a command in this process: its exit code, JSON or text, and standard error."""
    monkeypatch.setenv("TZ", "Etc/UTC")

    def run(*arguments):
        monkeypatch.setenv("COLUMNS", "200")
        code, printed, said = joulelab(*arguments)
        return code, json.loads(printed) if printed.startswith("{") else printed, said

    return run


def traced(joulelab, name, *arguments):
    code, data, said = joulelab("trace", CASES / name, *arguments, "--json")
    assert code == 0, said
    return data["measurement"]


def gross(measurement):
    return {one["domain"]: one["gross_j"] for one in measurement["readings"]}


def measured(energy_j, **domains_j):
    """A trace of this energy, measured, in these domains."""

    def check(joulelab, name):
        found = traced(joulelab, name)
        assert found["total"]["gross_j"] == pytest.approx(energy_j, rel=1e-3)
        assert found["total"]["status"] == "measured"
        known = {domain.replace("_", ":"): joules for domain, joules in domains_j.items()}
        assert {name: gross(found)[name] for name in known} == pytest.approx(known, rel=1e-3)
        code, predicted, _ = joulelab("predict", "step", CASES / name, "--duration", 9e4, "--json")
        assert code == 0
        assert {one["domain"] for one in predicted["predictions"]} == set(gross(found))

    return check


def refused_or_measured(energy_j):
    def check(joulelab, name):
        code, data, said = joulelab("trace", CASES / name, "--json")
        if code:
            assert "several GPUs" in said
            assert "--device" in said
        else:
            assert data["measurement"]["total"]["gross_j"] == pytest.approx(energy_j, rel=1e-3)

    return check


def with_a_hole(known_j, hole_s):
    def check(joulelab, name):
        found = traced(joulelab, name)
        (reading,) = found["readings"]
        assert found["total"]["status"] == "partly estimated"
        assert reading["lost_s"] == pytest.approx(hole_s, rel=0.01)
        assert reading["gross_j"] - reading["error_j"] <= known_j <= reading["gross_j"]

    return check


def without_times(joulelab, name):
    (reading,) = traced(joulelab, name)["readings"]
    assert reading["gross_j"] == pytest.approx(202)
    assert reading["status"] == "estimated"
    said = traced(joulelab, name, "--interval", 2)
    assert said["total"]["gross_j"] == pytest.approx(404)


def imported(energy_j):
    def check(joulelab, name):
        code, data, said = joulelab("import", "codecarbon", CASES / name, "--json")
        assert code == 0, said
        assert data["energy_j"] == pytest.approx(energy_j, rel=2e-3)

    return check


def placed(joulelab, name):
    found = traced(joulelab, "one-hour-100-w.csv", "--place", CASES / name)
    if name in WITH_UNCOVERED_HOURS:
        assert found["co2e_g"] is None  # the series ends before the recording does
    else:
        assert found["co2e_g"] == pytest.approx(22.3, abs=0.1)


def placed_or_refused(joulelab, name):
    trace = CASES / "one-hour-100-w.csv"
    code, data, said = joulelab("trace", trace, "--place", CASES / name, "--json")
    if code:
        assert "kWh" in said
    else:
        assert KG_G[0] <= data["measurement"]["co2e_g"] <= KG_G[1]


def arrivals(_, name):
    process = parse_arrivals(f"trace({name})", CASES)
    times_s = process.times_s(100, np.random.default_rng(0))
    assert times_s[0] < 1
    assert np.diff(times_s)[0] == pytest.approx(5270414.4049 - 5270414.0289, abs=1e-6)
    at_rate = process.at_rate(5).times_s(100, np.random.default_rng(0))
    assert at_rate[0] < 1
    assert at_rate[-1] > 5


def without_negative(joulelab, name):
    named = ("--energy", "CPU Energy", "--factor", "quantization", "--factor", "task")
    code, data, said = joulelab("analyze", "architecture", CASES / name, *named, "--json")
    assert code == 0, said
    (whole, _) = data["tables"]["assumptions"]["rows"]
    assert (whole["n"], whole["dropped"]) == (9, 2)
    assert {row["n"] for row in data["tables"]["kruskal"]["rows"]} == {9}
    # That responses are no factors is the reader's doing: no second analysis is needed.
    assert read_runs(CASES / name, "architecture", (), "CPU Energy").factors == (
        "quantization",
        "task",
    )


def decimal_commas(joulelab, name):
    code, data, said = joulelab("analyze", "architecture", CASES / name, "--json")
    assert code == 0, said
    (increase,) = data["tables"]["increase"]["rows"]
    assert (increase["low_mean_j"], increase["high_mean_j"]) == pytest.approx((12.6, 20.2))


TRUTH = {
    "gpu-column.csv": measured(34_800, gpu_0=24_000, gpu_1=3_600, gpu_2=3_600, gpu_3=3_600),
    "gpu-whole-seconds.csv": refused_or_measured(34_800),
    "gpu-log-with-a-hole.csv": with_a_hole(12_000, 3600),
    "gpu-log-two-headers.csv": with_a_hole(17_700, 31),
    "gpu-log-negative.csv": measured(5_900, gpu_0=5_900),
    "nvidia-smi-dmon.txt": without_times,
    "turbostat.log": measured(96.6, cpu_0=90.4, core_0=60.2, dram_0=6.2),
    "powerjoular.csv": measured(80, total=80, cpu_0=80),
    "energibridge.csv": measured(31.2, cpu_0=18, dram_0=1.2, gpu_0=12),
    "nvitop.csv": measured(320, gpu_0=200, gpu_1=120),
    "one-hour-100-w.csv": measured(360_000, gpu_0=360_000),
    "codecarbon-tasks-flush.csv": imported(336),
    "codecarbon-short-tasks.csv": imported(21.6),
    "codecarbon-clock-back.csv": imported(1.08e6),
    "codecarbon-two-headers.csv": imported(720e3),
    "arrivals-epoch.csv": arrivals,
    "carbon-kg.csv": placed_or_refused,
    "carbon-semicolons.csv": placed,
    "carbon-watttime.csv": placed,
    "carbon-entsoe.csv": placed,
    "carbon-carboncast.csv": placed,
    "run-table-negative.csv": without_negative,
    "table-semicolons.csv": decimal_commas,
}


@pytest.mark.parametrize("name", FILES)
def test_a_small_input_of_others_has_its_true_value_or_is_refused(joulelab, name):
    TRUTH[name](joulelab, name)
