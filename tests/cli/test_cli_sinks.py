"""``--to`` and ``--prometheus``: what is measured, sent elsewhere from the command line."""

import csv
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from joulelab.cli import main


@pytest.fixture
def port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def test_the_last_row_is_the_answer_and_standard_output_stays_json(
    powercap, capfd, monkeypatch, tmp_path
):
    rows, lines = tmp_path / "run.csv", tmp_path / "run.jsonl"
    sinks = ["--to", str(rows), "--to", str(lines), "--to", "prometheus:0"]
    asked = [
        "measure",
        "--json",
        "--idle",
        "0",
        "--domain",
        "cpu:0",
        "--label",
        "mine",
        *sinks,
        "--",
        "sleep",
        "0.1",
    ]
    monkeypatch.setattr(sys, "argv", ["joulelab", *asked])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    total = json.loads(capfd.readouterr().out)["measurement"]["total"]
    *_, row = csv.DictReader(rows.read_text().splitlines())
    assert float(row["energy_j"]) == pytest.approx(total["gross_j"], rel=1e-3)
    assert (row["label"], row["status"]) == ("mine", "measured")
    line = json.loads(lines.read_text().splitlines()[-1])
    assert line["measurement"]["total"] == total
    assert line["state"] == "finished"


@pytest.mark.parametrize(
    ("options", "labels"),
    [
        (
            ["--to", "prometheus:0", "--repeat", 2, "--warmup", 1, "--", "sleep", "0.01"],
            ["sleep 0.01"] * 2,
        ),
        (["--compare", "true", "sleep 0.01"], ["sleep 0.01", "true"]),
        (["--sweep", "s=0,0.01", "--", "sleep", "{s}"], ["s=0", "s=0.01"]),
        (["--label", "nap", "--sweep", "s=0,1", "--", "echo", "{s}"], ["nap: s=0", "nap: s=1"]),
    ],
)
def test_each_of_several_runs_is_sent_under_the_name_of_its_command(
    joulelab, tmp_path, options, labels
):
    path = tmp_path / "runs.jsonl"
    code, _, err = joulelab(*("measure", "--idle", 0, "--cool-down", 0, "--to", path), *options)
    assert code == 0, err
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    ended = [line for line in lines if line["state"] == "finished"]
    assert sorted(line["label"] for line in ended) == labels
    assert all(line["measurement"]["duration_s"] == line["duration_s"] for line in ended)


def test_the_runs_before_one_that_fails_are_sent_as_finished(joulelab, tmp_path):
    path, left = tmp_path / "runs.jsonl", tmp_path / "left"
    left.write_text("")
    code, *_ = joulelab(
        *("measure", "--idle", 0, "--cool-down", 0, "--to", path, "--repeat", 3),
        *("--", "rm", left),
    )
    assert code == 1
    states = [json.loads(line)["state"] for line in path.read_text().splitlines()]
    assert states == ["finished", "failed"]


def test_a_command_that_fails_is_told_as_failed(joulelab, tmp_path):
    path = tmp_path / "run.jsonl"
    code, *_ = joulelab(
        "measure", "--idle", 0, "--to", path, "--", sys.executable, "-c", "raise SystemExit(3)"
    )
    assert code == 3
    assert json.loads(path.read_text().splitlines()[-1])["state"] == "failed"


@pytest.fixture
def reading(port):
    """Asks a page until it has words, then ends watching as Ctrl-C does; gives the pages."""

    @contextmanager
    def read(words):
        pages = []

        def ask():
            deadline_s = time.monotonic() + 30
            while time.monotonic() < deadline_s and not (pages and words in pages[-1]):
                with (
                    suppress(OSError),
                    urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as page,
                ):
                    pages.append(page.read().decode())
                time.sleep(0.01)
            os.kill(os.getpid(), signal.SIGINT)

        reader = threading.Thread(target=ask)
        reader.start()
        yield pages
        reader.join()

    return read


def test_a_page_of_watch_has_its_counters_before_the_first_view(powercap, joulelab, port, reading):
    with reading("energy_joules") as pages:
        code, out, err = joulelab("watch", "--every", 60, "--prometheus", port)
    assert (code, err) == (0, "")
    assert len(out.split("\n")) < 4
    assert 'joulelab_energy_joules_total{domain="cpu:0",source="rapl"' in pages[-1]


def test_each_row_of_watch_is_another(powercap, joulelab, tmp_path):
    path = tmp_path / "watched.csv"
    code, *_ = joulelab("watch", "--for", 0.1, "--every", 0.05, "--to", path)
    assert code == 0
    rows = list(csv.DictReader(path.read_text().splitlines()))
    assert rows
    assert len({row["duration_s"] for row in rows}) == len(rows)


def test_watch_shows_its_counters_to_prometheus(powercap, joulelab, port, reading, tmp_path):
    path = tmp_path / "watched.jsonl"
    with reading("co2e_grams") as pages:
        code, out, err = joulelab(
            *("watch", "--every", 0.05, "--meter", "rapl", "--place", "NLD"),
            *("--prometheus", f"127.0.0.1:{port}", "--to", path),
        )
    assert (code, err) == (0, "")
    assert "cpu:0" in out
    (energy_j,) = re.findall(
        r'^joulelab_energy_joules_total\{domain="cpu:0",source="rapl",status="measured"\} (.+)$',
        pages[-1],
        re.M,
    )
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert 0 < float(energy_j) <= lines[-1]["energy_j"] + 1e-9
    assert lines[-1]["co2e_g"] > 0
    assert "joulelab_co2e_grams_total" in pages[-1]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--to", "prometeus"], "unknown sink 'prometeus' did you mean 'prometheus'?"),
        (["--to", "run.csv", "--to", "run.csv"], "two sinks write to"),
        (["--to", "run.csv", "--trace", "run.csv"], "is written by another option too"),
        (["--trace", "run.csv", "--repeat", "2"], "--trace and --plot are for a single run"),
        (["--to", "none/run.csv"], "none/run.csv cannot be written: No such file or directory"),
        (["--to", "tensorboard"], "tensorboard needs a folder"),
        (["--to", "prometheus:192.0.2.1:9400"], "give an address of this machine"),
    ],
)
def test_an_impossible_sink_is_refused_before_the_command_runs(
    joulelab, tmp_path, monkeypatch, options, words
):
    monkeypatch.chdir(tmp_path)
    code, out, err = joulelab("measure", "--idle", 0, *options, "--", "touch", "begun")
    assert (code, out) == (2, "")
    assert words in " ".join(err.split())
    assert not (tmp_path / "begun").exists()


def test_a_port_in_use_is_an_error_in_two_lines(joulelab):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        code, _, err = joulelab("watch", "--for", 0.1, "--prometheus", port)
    assert code == 2
    assert err == f"error: 127.0.0.1:{port} is in use\ngive another port, or end what uses it\n"


def test_joulelab_log_does_not_wait_minutes_for_a_server(joulelab, monkeypatch):
    name, seen = "MLFLOW_HTTP_REQUEST_MAX_RETRIES", []
    monkeypatch.setenv(name, "")
    monkeypatch.delenv(name)  # and restored as it was
    monkeypatch.setattr(
        "joulelab.cli.run_log.log_study", lambda *_: seen.append(os.environ[name]) or 1
    )
    code, out, _ = joulelab("log", ".", "--to", "mlflow:http://127.0.0.1:1")
    assert (code, "1 run logged" in out, seen) == (0, True, ["2"])


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
def test_a_full_disk_is_no_defect():
    line = [sys.executable, "-m", "joulelab", "config", "--json"]
    with Path("/dev/full").open("w") as full:
        ended = subprocess.run(line, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert ended.returncode == 1
    assert "no space is left" in ended.stderr
    assert "defect" not in ended.stderr


def test_runs_of_a_study_go_to_mlflow_only(joulelab, tmp_path):
    out = tmp_path / "out"
    code, _, err = joulelab("run", "quickstart", "--out", out, "--to", "otlp")
    assert code == 2
    assert "the runs of a study go to MLflow only" in err
    assert not out.exists()
