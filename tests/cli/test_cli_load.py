"""``joulelab load`` as its users call it, against servers on loopback, and the example server."""

import csv
import json
import os
import runpy
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Thread

import numpy as np
import pandas as pd
import pytest
from loopback_endpoint import answer, endpoint, saying, silent, vanishing_after

from joulelab.cli.load_report import LoadReport
from joulelab.cli.load_window import MeasuredLoad
from joulelab.cli.serving_commands import Load
from joulelab.energy.measurement import Measurement
from joulelab.energy.reading import Reading, Status
from joulelab.serving.arrivals import parse_arrivals
from joulelab.serving.http_results import Exchanges
from joulelab.serving.images import shipped_photographs

ROOT = Path(__file__).parent.parent.parent
QUICK = ("--arrivals", "uniform-jitter(200)", "--requests", 20, "--idle", 0)


def test_a_load_that_went_well(joulelab, tmp_path):
    with endpoint(saying(answer())) as server:
        code, out, err = joulelab(
            "load", server.url, *QUICK, "--p99", "5s", "--expect", "json", "--warm-up", 5
        )
        assert len(server.requests) == 25
        sent = {body for _, _, body in server.requests}
    assert code == 0, err
    assert sent == {path.read_bytes() for path in shipped_photographs()}
    assert "requests   20: 20 answered, 0 failed" in out
    assert "p99 within 5 s held: 100.0 % of 20 requests" in out
    assert "from due" in out
    assert out.startswith("20 of 20 requests answered\nenergy per answered request: ")
    assert "unknown net (estimated)" in out.splitlines()[1]
    assert "The energy covers this machine" in out
    assert max(len(line) for line in out.splitlines() if "│" in line or "─" in line) <= 80


def test_json_is_alone_on_standard_output_and_has_the_measurement(joulelab):
    with endpoint(saying(answer(), 0.01)) as server:
        code, out, _ = joulelab(
            "load", server.url, *QUICK[:-2], "--idle", 0.2, "--json", "--place", "NLD"
        )
    data = json.loads(out)
    assert code == 0
    assert data["schema_version"] == 1
    assert (data["requests"], data["answered"], data["failed"], data["not_sent"]) == (20, 20, 0, 0)
    assert data["reasons"] == {}
    assert data["offered_per_s"] == 200
    assert data["response"]["p50_s"] >= data["service"]["p50_s"] >= 0.01
    total = data["measurement"]["total"]
    assert data["energy_status"] == total["status"] == "estimated"
    assert data["gross_j_per_request"] == pytest.approx(total["gross_j"] / 20)
    assert data["net_j_per_request"] == pytest.approx(total["net_j"] / 20)
    assert data["measurement"]["co2e_g"] > 0
    assert data["measurement"]["duration_s"] >= data["duration_s"]
    assert data["limit"] is None


def report_of(idle_w):
    """A load of one request in one second in which 2 J were used."""
    reading = Reading("cpu:0", "rapl", Status.MEASURED, 2.0, 0.1, idle_w, 1.0)
    once, none = np.zeros(1), np.zeros(1, int)
    exchanges = Exchanges(once, once, once, once + 1, none, none, ("answered",))
    measurement = Measurement("", None, 1.0, (reading,), 2, 0.5)
    asked = Load(url="http://a/", arrivals="poisson(1)", requests=1)
    return LoadReport(
        asked, parse_arrivals(asked.arrivals), MeasuredLoad(exchanges, measurement, (), 0.1), True
    )


def test_net_energy_below_0_is_said_to_say_nothing():
    assert report_of(idle_w=1.5).sentences() == []
    assert report_of(idle_w=1.5).to_dict()["net_j_per_request"] == 0.5
    assert report_of(idle_w=None).to_dict()["net_j_per_request"] is None
    (said,) = report_of(idle_w=2.5).sentences()
    assert "net energy is below 0, which says nothing" in said


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_every_request_stands_in_the_table(joulelab, tmp_path, suffix):
    path = tmp_path / f"requests{suffix}"
    with endpoint(vanishing_after(5)) as server:
        code, out, _ = joulelab("load", server.url, *QUICK, "--out", path)
    assert code == 4
    frame = pd.read_csv(path) if suffix == ".csv" else pd.read_parquet(path)
    assert len(frame) == 20
    answered = frame["outcome"] == "answered"
    assert f"20: {answered.sum()} answered, {20 - answered.sum()} failed" in out
    assert frame.loc[answered, "response_s"].notna().all()
    assert frame.loc[~answered, "response_s"].isna().all()
    assert frame["due_s"].is_monotonic_increasing
    assert frame["due_s"][0] == 0


def test_the_same_seed_sends_at_the_same_times(joulelab, tmp_path):
    due = []
    with endpoint(saying(answer())) as server:
        for number, seed in enumerate((3, 3, 4)):
            path = tmp_path / f"{number}.csv"
            joulelab("load", server.url, *QUICK, "--seed", seed, "--out", path)
            with path.open() as file:
                due.append([row["due_s"] for row in csv.DictReader(file)])
    assert due[0] == due[1] != due[2]


def test_an_endpoint_that_refuses_ends_the_command_at_once(joulelab):
    with endpoint(silent) as server:
        url = server.url
    code, out, err = joulelab("load", url, *QUICK)
    assert code == 1
    assert out == ""
    first, second = err.strip().splitlines()
    assert first == f"error: {url}: connection refused"
    assert "start the server" in second


@pytest.mark.parametrize(
    ("behave", "reason"),
    [
        (silent, "timed out: 20"),
        (saying(b"SSH-2.0-x\r\n"), "not an HTTP answer: 20"),
        (saying(answer(status="500 Oh")), "HTTP 500: 20"),
    ],
)
def test_where_nothing_is_answered_the_reasons_are_told_and_the_code_is_1(joulelab, behave, reason):
    with endpoint(behave) as server:
        timeout = "300ms" if behave is silent else "10s"
        code, out, err = joulelab("load", server.url, *QUICK, "--timeout", timeout)
    assert code == 1, err
    assert "20: 0 answered, 20 failed" in out
    assert reason in out
    assert "energy per answered request" not in out


def test_a_redirect_is_not_followed_and_said(joulelab):
    reply = answer(status="307 There", headers="location: /elsewhere\r\n")
    with endpoint(saying(reply)) as server:
        code, out, _ = joulelab("load", server.url, *QUICK)
        assert len(server.requests) == 20
    assert code == 1
    assert "HTTP 307, a redirect, not followed: 20" in out
    assert "the first redirect led to /elsewhere" in out


def test_a_warm_up_that_nobody_answers_ends_the_command(joulelab):
    with endpoint(saying(answer(status="404 No"))) as server:
        code, _, err = joulelab("load", server.url, *QUICK, "--warm-up", 3)
        assert len(server.requests) == 3
    assert code == 1
    assert "answered no request of the warm-up (HTTP 404: 3)" in err


def test_a_limit_that_was_missed_is_said_and_the_code_is_4(joulelab):
    with endpoint(saying(answer(), 0.05)) as server:
        code, out, _ = joulelab("load", server.url, *QUICK, "--p99", "20ms")
    assert code == 4
    assert "p99 within 20 ms was missed: 0.0 % of 20 requests" in out


def test_too_few_connections_are_said(joulelab):
    with endpoint(saying(answer(), 0.8)) as server:
        code, out, _ = joulelab("load", server.url, *QUICK, "--concurrency", 4)
        assert len(server.requests) == 4
    assert code == 4
    assert "20: 4 answered, 0 failed, 16 not sent" in out
    assert "not sent: 4 requests open: 16" in out
    assert "saturated, 16 requests turned away" in out


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("ftp://127.0.0.1", *QUICK), "not an http:// or https:// URL"),
        (("http://127.0.0.1:1", *QUICK, "--timeout", "10"), "write it with its unit"),
        (("http://127.0.0.1:1", *QUICK, "--p99", "0ms"), "--p99 '0ms' is not a time"),
        (("http://127.0.0.1:1", *QUICK, "--header", "nothing"), "--header 'nothing' has no name"),
        (("http://127.0.0.1:1", *QUICK, "--image", "/no/such"), "/no/such does not exist"),
        (("http://127.0.0.1:1", *QUICK, "--method", "GET", "--field", "f"), "carries no image"),
        (("http://127.0.0.1:1", *QUICK, "--out", "x.txt"), "Parquet or CSV"),
        (("http://127.0.0.1:1", *QUICK, "--out", "/no/such/x.csv"), "no folder"),
        (("http://127.0.0.1:1", "--arrivals", "poison(5)", "--requests", 5), "poisson"),
        (("http://127.0.0.1:1", "--arrivals", "poisson(0)", "--requests", 5), "must be above 0"),
        (("http://127.0.0.1:1", "--arrivals", "poisson(1)", "--requests", 10**8), "too many"),
        (("http://192.0.2.1/", "--arrivals", "poisson(400)", "--requests", 900), "--yes"),
        (("http://192.0.2.1/", "--arrivals", "poisson(1)", "--requests", 10_001), "--yes"),
    ],
)
def test_what_cannot_or_should_not_be_sent_is_said_beforehand(joulelab, arguments, words):
    code, out, err = joulelab("load", *arguments)
    assert code == 2
    assert words in err
    assert out == ""


def test_a_burst_in_a_trace_is_a_heavy_load_whatever_its_mean_rate(joulelab, tmp_path):
    # So many within half a second, and one an hour later: 0.06 a second on average.
    times = [*np.linspace(1e6, 1e6 + 0.5, 201), 1e6 + 3600]
    trace = tmp_path / "a.csv"
    trace.write_text("\n".join(["t_s", *(f"{t:.5f}" for t in times), ""]))
    code, _, err = joulelab(
        "load", "http://192.0.2.1/", "--arrivals", f"trace({trace})", "--requests", 202
    )
    assert code == 2
    assert "up to 201 of them within a second" in err
    code, _, err = joulelab(
        "load", "http://192.0.2.1/", "--arrivals", f"trace({trace}, 0.01)", "--requests", 202,
        "--timeout", "10ms",
    )  # fmt: skip
    assert "--yes" not in err, "34 s apart on average, 0.3 s in the burst"


def test_a_trace_with_too_few_arrivals_is_said(joulelab, tmp_path):
    trace = tmp_path / "arrivals.csv"
    trace.write_text("t_s\n0.1\n0.2\n0.3\n")
    arrivals = ("--arrivals", f"trace({trace})", "--idle", 0)
    with endpoint(saying(answer())) as server:
        code, _, err = joulelab("load", server.url, *arrivals, "--requests", 4)
        assert (code, len(server.requests)) == (2, 0)
        assert "--requests 3" in err
        code, out, _ = joulelab("load", server.url, *arrivals, "--requests", 3)
    assert code == 0
    assert "3: 3 answered" in out


def test_arrivals_of_ones_own_come_from_a_plug_in(joulelab, tmp_path):
    plugin = tmp_path / "salvo.py"
    plugin.write_text(
        "import numpy as np\n"
        "from joulelab.serving.arrivals import ArrivalProcess, arrivals\n"
        "@arrivals.register('test-salvo')\n"
        "class Salvo(ArrivalProcess):\n"
        "    rate_per_s = 100.0\n"
        "    def times_s(self, count, rng): return np.repeat(0.1, count)\n"
        "    def at_rate(self, rate_per_s): return self\n"
    )
    table = tmp_path / "requests.csv"
    load = ("--arrivals", "test-salvo", "--requests", 7, "--idle", 0, "--plugin", plugin)
    with endpoint(saying(answer())) as server:
        code, out, err = joulelab("load", server.url, *load, "--out", table)
        assert len(server.requests) == 7
    assert code == 0, err
    assert (pd.read_csv(table)["due_s"] == 0).all()
    assert "7: 7 answered" in out


def test_an_interrupted_load_prints_what_there_is():
    arrivals = ("--arrivals", "poisson(50)", "--requests", "100000")
    options = ("--idle", "0", "--busy", "share", "--json")
    with endpoint(saying(answer())) as first, endpoint(saying(answer())) as second:
        # Both at once, for starting takes longest.
        loading = [
            (
                number,
                server,
                subprocess.Popen(
                    [sys.executable, "-m", "joulelab", "load", server.url, *arrivals, *options],
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                    text=True,
                ),
            )
            for number, server in ((signal.SIGINT, first), (signal.SIGTERM, second))
        ]
        for number, server, process in loading:
            while len(server.requests) < 20:
                assert process.poll() is None, process.communicate()
                time.sleep(0.02)
            process.send_signal(number)
            out, err = process.communicate(timeout=60)
            data = json.loads(out)
            assert process.returncode == 130
            assert "Traceback" not in err
            assert data["interrupted"] is True
            assert 20 <= data["requests"] < 100_000
            assert data["answered"] > 0
            assert data["measurement"]["total"]["gross_j"] > 0
            assert f"{data['requests']} requests of 100,000" in data["sentences"][0]


def test_the_estimate_holds_the_server_that_runs_beside_it(joulelab):
    # What it is started by ends at once: the server is not among the descendants of this process.
    program = (
        "import os, sys, time\n"
        "from http.server import BaseHTTPRequestHandler, HTTPServer\n"
        "class Busy(BaseHTTPRequestHandler):\n"
        "    def do_GET(self):\n"
        "        end = time.process_time() + 0.05\n"
        "        while time.process_time() < end: pass\n"
        "        self.send_response(200)\n"
        "        self.end_headers()\n"
        "    def log_message(self, *_): pass\n"
        "server = HTTPServer(('127.0.0.1', 0), Busy)\n"
        "if os.fork(): os._exit(0)\n"
        "print(os.getpid(), server.server_port, flush=True)\n"
        "server.serve_forever()\n"
    )
    load = ("--arrivals", "uniform-jitter(20)", "--requests", 10, "--method", "GET", "--idle", 0)
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True
    ) as starter:
        pid, port = map(int, starter.stdout.readline().split())
        try:
            joules = {}
            for scope in ("", "?scope=tree"):
                meter = ("--meter", f"estimate{scope}", "--domain", "cpu:0")
                _, out, _ = joulelab("load", f"http://127.0.0.1:{port}/", *load, *meter, "--json")
                joules[scope] = json.loads(out)["measurement"]["total"]["gross_j"]
        finally:
            os.kill(pid, signal.SIGKILL)
    assert joules[""] > 2 * joules["?scope=tree"]


TINY = """
from torch import nn


def tiny():
    return nn.Sequential(nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(12, 10))
"""


@contextmanager
def example_server(folder, policy):
    """The example server with a tiny network, in a thread of this process; gives its URL."""
    import torch
    import uvicorn

    (folder / "tiny_network.py").write_text(TINY)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    options = ["--model", "tiny_network:tiny", "--policy", policy, "--crop", "32"]
    main = runpy.run_path(str(ROOT / "examples/serving/server.py"))["main"]
    threads, servers, run = torch.get_num_threads(), [], uvicorn.Server.run
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.syspath_prepend(folder)
        patch.setattr(sys, "argv", ["server.py", *options, "--port", str(port)])
        patch.setattr(uvicorn.Server, "run", lambda server: (servers.append(server), run(server)))
        thread = Thread(target=main)
        thread.start()
        while not (servers and servers[0].started):
            assert thread.is_alive()
            time.sleep(0.01)
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            servers[0].should_exit = True
            thread.join()
            torch.set_num_threads(threads)
            sys.modules.pop("tiny_network")


def test_the_example_server_answers_in_batches_and_says_what_it_cannot_read(joulelab, tmp_path):
    images = tmp_path / "images"
    images.mkdir()
    for path in shipped_photographs():
        (images / path.name).write_bytes(path.read_bytes())
    (images / "broken.jpg").write_bytes(b"no photograph")
    photograph = shipped_photographs()[0].read_bytes()
    # What a PGM file of 90 million pixels begins with: Pillow alone would only warn.
    huge = b"P5 10000 9000 255\n"
    with example_server(tmp_path, "fixed(4, wait_ms=1000)") as url:
        with urllib.request.urlopen(f"{url}/health") as health:
            assert json.load(health)["policy"] == "fixed(4, wait_ms=1000)"
        load = ("load", f"{url}/classify", "--expect", "json", *QUICK)
        code, out, err = joulelab(*load)
        assert code == 0, out + err
        assert "20: 20 answered" in out
        code, out, _ = joulelab(*load, "--image", images)
        assert code == 4
        assert "HTTP 400: " in out
        with ThreadPoolExecutor(4) as clients:
            refused = clients.submit(classified, f"{url}/classify", huge)
            together = list(clients.map(classified, [f"{url}/classify"] * 3, [photograph] * 3))
        alone = classified(f"{url}/classify", photograph)
    assert refused.exception().code == 400
    assert b"exceeds limit of 89478485 pixels" in refused.exception().read()
    assert [one["batch"] for one in together] == [4, 4, 4], "with what cannot be read"
    assert alone["batch"] == 1
    assert alone["waited_s"] >= 1
    assert {one["class"] for one in together} == {alone["class"]}


def classified(url, image):
    """What the example server says of one image."""
    with urllib.request.urlopen(urllib.request.Request(url, image, method="POST")) as answered:
        return json.load(answered)
