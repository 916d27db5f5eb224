"""All benchmarks that need no GPU, one after the other, as Markdown: `make bench`.

    python benchmarks [--without-peers] [--quick]

They read the same simulated sensors, made once. Nothing else should run meanwhile; the load of the
machine stands above each table.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

import simulated

HERE = Path(__file__).resolve().parent
QUICK = {
    "accuracy": "--seconds 1 --repeats 1 --draws 2 --traces plateau",
    "bounds": "--logs 1",
    "overhead": "--seconds 1 --busy 0 --piece 0.02",
    "profiling": "--runs 1 --pairs 2 --piece 0.05",
    "windows": "--imports 1 --windows 20",
    "callbacks": "--pairs 1 --epochs 1 --budgets 0 --only scikit-learn",
    "gaps": "--seconds 0.3",
    "analysis": "--repeats 1 --rounds 4 --many 800",
    "proposal": "--observations 8 --pairs 1",
    "serving": "--seconds 0.5 --repeats 1",
    "streaming": "--seconds 0.2 --repeats 1",
    "planner": "--requests 20000 --repeats 1",
    "tokens": "--repeats 2 --split-repeats 1",
    "live": "--runs 1500 --updates 2 --seconds 1",
    "training": "--pairs 1 --steps 1 --networks DensePolyNN --datasets fashion-mnist",
}
TITLES = {
    "accuracy": "Accuracy",
    "bounds": "Bounds that hold",
    "overhead": "Overhead",
    "profiling": "Accuracy and overhead of a profile",
    "windows": "Imports and windows",
    "callbacks": "Callbacks and budgets",
    "gaps": "Gaps under a busy interpreter",
    "proposal": "A Bayesian proposal",
    "analysis": "Analysis and report",
    "serving": "The queue",
    "streaming": "Clients for streamed answers",
    "planner": "A million simulated requests",
    "tokens": "Joules per token: intervals and costs apart",
    "live": "The live page of 25,000 runs",
    "training": "The fast engine beside the reference engine",
}


PLAIN = {"proposal"}
"""Those that print no Markdown."""


def main() -> None:
    """Run each benchmark in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--without-peers", action="store_true")
    parser.add_argument("--quick", action="store_true", help="only to see that all of them run")
    args = parser.parse_args()
    began_s = time.monotonic()
    for name, title in TITLES.items():
        options = QUICK[name].split() if args.quick else []
        if args.without_peers and name in ("accuracy", "overhead", "windows"):
            options.append("--without-peers")
        print(f"## {title}\n", flush=True)
        if name == "training":
            options += ["--json", "joulelab-out/training.json"]
        if name in PLAIN:
            print("```", flush=True)
        subprocess.run([sys.executable, HERE / f"{name}.py", *options], check=True)
        if name in PLAIN:
            print("```\n", flush=True)
    print(f"All of this took {time.monotonic() - began_s:.0f} s.")


if __name__ == "__main__":
    simulated.run(main)
