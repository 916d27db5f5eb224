"""What a sink costs a training: processor time and waiting per epoch.

    python benchmarks/sinks.py [--epochs 20] [--seconds 1] [--repeats 3] [--sinks csv,otlp,...]

A training whose epochs sleep has no processor time of its own: what its process and its children
use is the cost of measuring (without a sink) or of measuring and the sink. Each training is a
process of its own; the sinks take turns within each repeat. *Waits* is the time that the end of an
epoch takes the training, longest of all epochs. OTLP goes to a receiver on this machine, Prometheus
reads each second, MLflow writes to a folder; "down" is an address at which nothing answers, and
"hangs" one that accepts and never answers.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from statistics import median

import psutil
from figures import machine, spread, table, verdict, versions

TARGET = 0.005
"""Of an epoch."""
NONE = "none"
FIRST = 2
"""Epochs that do not count: connections are opened in them."""


def main() -> None:
    """Measure each sink and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=1.0, help="of an epoch")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--sinks", default="", help="names; default: all")
    parser.add_argument("--train", help="used by this program itself")
    args = parser.parse_args()
    if args.train is not None:
        print(json.dumps(trained(args.train, args.epochs, args.seconds)))
        return
    print(f"{machine()}; {versions()}\n")
    with tempfile.TemporaryDirectory() as folder:
        addresses = {NONE: "", **sinks(Path(folder))}
        wanted = [NONE, *filter(None, args.sinks.split(","))] if args.sinks else list(addresses)
        runs: dict[str, list[dict[str, float]]] = {name: [] for name in wanted}
        for _ in range(args.repeats):
            for name in wanted:
                runs[name].append(in_process(addresses[name], args.epochs, args.seconds))
    rows = [row(name, some, runs[NONE], args.seconds) for name, some in runs.items()]
    head = ("sink", "processor, ms an epoch", "more than none, of an epoch", "waits, ms", "end, s")
    print(table(head, [cells for cells, _ in rows]))
    for name, (_, share) in zip(runs, rows, strict=True):
        if name != NONE:
            print(f"Target, under {TARGET:.1%} of an epoch: {name} {verdict(share, TARGET)}")


def row(
    name: str, runs: list[dict[str, float]], without: list[dict[str, float]], epoch_s: float
) -> tuple[list[str], float]:
    """The cells of a sink, and its cost as a share of an epoch."""
    pairs = zip(runs, without, strict=True)
    more = [(one["cpu_s"] - other["cpu_s"]) / epoch_s for one, other in pairs]
    cells = [
        name,
        spread([1e3 * one["cpu_s"] for one in runs]),
        "" if name == NONE else f"{spread([100 * one for one in more], '.2f')} %",
        spread([1e3 * one["waits_s"] for one in runs]),
        spread([one["end_s"] for one in runs], ".2f"),
    ]
    return cells, median(more)


def in_process(to: str, epochs: int, seconds: float) -> dict[str, float]:
    """Train in a process of its own."""
    own = ["--train", to, "--epochs", str(epochs), "--seconds", str(seconds)]
    done = subprocess.run(
        [sys.executable, __file__, *own],
        check=True,
        stdout=subprocess.PIPE,
        env={**os.environ, "MLFLOW_ALLOW_FILE_STORE": "true"},
    )
    return dict(json.loads(done.stdout))


def trained(to: str, epochs: int, seconds: float) -> dict[str, float]:
    """Sleep in each epoch; returns the processor time of an epoch, and what the training waits."""
    import joulelab

    waits_s: list[float] = []
    used_s: list[float] = []
    tracked = joulelab.track(range(epochs), meters=["estimate"], quiet=True, to=to or None)
    asked_s = 0.0
    for _ in tracked:
        if asked_s:
            waits_s.append(time.monotonic() - asked_s)
        time.sleep(seconds)
        used_s.append(_used_s())
        asked_s = time.monotonic()
    end_s = time.monotonic() - asked_s
    # The first epoch opens connections.
    cpu_s = (used_s[-1] - used_s[FIRST]) / (len(used_s) - 1 - FIRST)
    return {"cpu_s": cpu_s, "waits_s": max(waits_s), "end_s": end_s}


def _used_s() -> float:
    """Processor time of this process and its children until now."""
    whole_s = time.process_time()
    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.Error):
            times = child.cpu_times()
            whole_s += times.user + times.system
    return whole_s


def sinks(folder: Path) -> dict[str, str]:
    """The address of each sink, with what it needs on this machine."""
    receiver = ThreadingHTTPServer(("127.0.0.1", 0), _Receiver)
    threading.Thread(target=receiver.serve_forever, daemon=True).start()
    silent = socket.create_server(("127.0.0.1", 0))
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    threading.Thread(target=_read, args=(port,), daemon=True).start()
    hangs, otlp = (f"http://127.0.0.1:{n}" for n in (silent.getsockname()[1], receiver.server_port))
    _KEPT.append(silent)
    return {
        "csv": str(folder / "run.csv"),
        "jsonl": str(folder / "run.jsonl"),
        "prometheus": f"prometheus:{port}",
        "otlp": f"otlp:{otlp}",
        "mlflow": f"mlflow:{folder / 'mlruns'}",
        "tensorboard": f"tensorboard:{folder / 'events'}",
        "wandb": f"wandb:{folder / 'wandb'}",
        "otlp, down": "otlp:http://127.0.0.1:9",
        "otlp, hangs": f"otlp:{hangs}",
        "mlflow, down": "mlflow:http://127.0.0.1:9",
        "mlflow, hangs": f"mlflow:{hangs}",
    }


_KEPT: list[socket.socket] = []


def _read(port: int) -> None:
    """Read the page of Prometheus each second, while there is one."""
    while True:
        time.sleep(1.0)
        with suppress(OSError), urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics") as page:
            page.read()


class _Receiver(BaseHTTPRequestHandler):
    """Takes whatever is posted."""

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Print nothing."""


if __name__ == "__main__":
    main()
