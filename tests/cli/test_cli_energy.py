"""``joulelab doctor``, ``record``, ``watch`` and ``trace`` as their users call them."""

import json
import os
import signal
import subprocess
import sys
import time
from functools import partial

import pandas as pd
import pytest

from joulelab.energy.diagnosis import diagnose

NVIDIA_SMI = """timestamp, index, power.draw [W], utilization.gpu [%]
2023/03/21 12:34:56.000, 0, 100.00 W, 90 %
2023/03/21 12:34:57.000, 0, 100.00 W, 90 %
2023/03/21 12:34:58.000, 0, 100.00 W, 90 %
"""


@pytest.fixture
def short_probe(monkeypatch):
    """The doctor looks at sensors for half a second."""
    monkeypatch.setattr("joulelab.cli.recording.diagnose", partial(diagnose, probe_s=0.5))


def command(*arguments):
    return [sys.executable, "-m", "joulelab", *map(str, arguments)]


@pytest.mark.usefixtures("short_probe")
def test_the_doctor_begins_with_a_verdict_and_says_what_is_there(joulelab, tmp_path, monkeypatch):
    monkeypatch.setenv("JOULELAB_POWERCAP", str(tmp_path))
    code, out, err = joulelab("doctor")
    assert code == 0, err
    assert out.startswith("estimated: no sensor can be read")
    assert "nvidia-ml-py" in out
    assert "no RAPL in" in out
    assert "shelly" in out


@pytest.mark.usefixtures("short_probe")
def test_the_doctor_calls_a_sensor_beside_an_estimate_partly_estimated(joulelab, powercap):
    _, out, _ = joulelab("doctor", "--json")
    data = json.loads(out)
    assert data["verdict"] == "partly estimated"
    (cpu,) = [one for one in data["findings"] if one["channel"]["domain"] == "cpu:0"]
    assert (cpu["channel"]["source"], cpu["channel"]["status"]) == ("rapl", "measured")
    assert cpu["channel"]["tick_s"] > 0
    assert cpu["power_w"] == pytest.approx(30, rel=0.2)


@pytest.mark.usefixtures("short_probe")
@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_the_doctor_names_the_command_that_would_let_rapl_be_read(joulelab, powercap):
    (powercap / "energy_uj").chmod(0)
    missing = json.loads(joulelab("doctor", "--json")[1])["missing"]
    assert f"sudo chmod a+r {powercap / 'energy_uj'}" in [one["remedy"] for one in missing]


@pytest.mark.usefixtures("short_probe")
def test_the_doctor_of_one_meter_looks_at_no_other(joulelab, tmp_path):
    log = tmp_path / "log.csv"
    log.write_text(NVIDIA_SMI)
    data = json.loads(joulelab("doctor", "--meter", f"replay:{log}?loop=true", "--json")[1])
    assert data["verdict"] == "measured"
    assert [one["channel"]["domain"] for one in data["findings"]] == ["gpu:0"]
    assert data["findings"][0]["power_w"] == pytest.approx(100.0)


@pytest.mark.parametrize("suffix", ["csv", "parquet"])
def test_a_recording_ends_by_itself_and_can_be_measured(joulelab, tmp_path, suffix):
    path = tmp_path / f"trace.{suffix}"
    began_s = time.monotonic()
    code, out, err = joulelab("record", "--out", path, "--for", "0.4", "--meter", "estimate")
    took_s = time.monotonic() - began_s
    assert code == 0, err
    assert str(path) in out
    assert [file.name for file in tmp_path.iterdir()] == [path.name]
    data = json.loads(joulelab("trace", path, "--json", "--place", "NLD")[1])
    measurement = data["measurement"]
    assert 0.3 < measurement["duration_s"] < took_s
    assert {one["source"] for one in measurement["readings"]} == {"estimate"}
    assert measurement["co2e_g"] > 0


def test_a_recording_is_finished_when_it_is_stopped(tmp_path):
    # Both at once, for starting takes longest.
    recording = {
        number: subprocess.Popen(
            command("record", "--out", tmp_path / f"{number}.parquet", "--meter", "estimate"),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        for number in (signal.SIGINT, signal.SIGTERM)
    }
    for number, process in recording.items():
        path = tmp_path / f"{number}.parquet"
        journal = tmp_path / f"{number}.parquet.part.csv"
        deadline_s = time.monotonic() + 60
        while time.monotonic() < deadline_s:
            if journal.exists() and len(journal.read_text().splitlines()) > 4:
                break
            time.sleep(0.02)
        process.send_signal(number)
        _, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
        assert not journal.exists()
        assert pd.read_parquet(path)["t_s"].max() > 0


def test_a_recording_writes_over_nothing(joulelab, tmp_path):
    path = tmp_path / "trace.csv"
    path.write_text("mine")
    code, _, err = joulelab("record", "--out", path, "--for", "1")
    assert code == 1
    assert "exists already" in err
    assert path.read_text() == "mine"


def test_the_log_of_nvidia_smi_is_measured_and_drawn(joulelab, tmp_path):
    log = tmp_path / "log.csv"
    log.write_text(NVIDIA_SMI)
    code, out, err = joulelab(
        "trace", log, "--from", "0.5", "--to", "1.5", "--plot", tmp_path / "p.svg"
    )
    assert code == 0, err
    assert "gpu:0" in out
    assert "100" in out
    assert (tmp_path / "p.svg").read_text().startswith("<?xml")


@pytest.mark.parametrize(
    ("text", "words"),
    [("a,b\n1,2\n", "no column of time"), ("", "is empty"), (None, "does not exist")],
)
def test_what_is_no_trace_is_refused(joulelab, tmp_path, text, words):
    path = tmp_path / "x.csv"
    if text is not None:
        path.write_text(text)
    code, _, err = joulelab("trace", path)
    assert code == 1
    assert words in err
    assert "Traceback" not in err


def test_the_view_writes_lines_where_there_is_no_terminal(joulelab):
    _, out, _ = joulelab("watch", "--for", "0.6", "--every", "0.2", "--meter", "estimate")
    lines = out.strip().splitlines()
    assert len(lines) == 3
    assert all("cpu:0" in line and "(estimated)" in line for line in lines)
