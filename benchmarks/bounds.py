"""How often the truth lies within the bound, and how wide the bound is.

    python benchmarks/bounds.py [--data-dir DIR] [--logs 12]

Beside a power meter: `gpu-power/rtx3090.csv` in the folder of data, nvidia-smi's power.draw of an
RTX 3090, and `rtx3090-meter.csv`, the energy of windows of it by a meter on the card's rails (after
the recordings of arXiv 2312.02741); once as the log is, which does not name its card, and once as
if it did.

By simulation: each kind of sensor over powers of many shapes (`tests/energy/sensed_power.py`), in
logs with a row every 20 ms, 100 ms and 1 s.
"""

from __future__ import annotations

import argparse
import csv
import os
import statistics
import sys
from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from figures import machine, table, versions

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests" / "energy"))

from sensed_power import CARDS, PROFILES, Trial, trials

from joulelab.energy.nvidia_cards import logged_sensor
from joulelab.energy.sample_buffer import ChannelSamples
from joulelab.energy.traces.recording import Recording, read_recording

CARD = "NVIDIA GeForce RTX 3090"
LENGTHS_S = (1.0, 2.0, 4.0, 10.0)
INTERVALS_S = (0.02, 0.1, 1.0)
FOLDER = "gpu-power"


def main() -> None:
    """Print both tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--data-dir", type=Path, default=os.environ.get("JOULELAB_DATA"), help="else JOULELAB_DATA"
    )
    parser.add_argument("--logs", type=int, default=12, help="of each shape and interval")
    args = parser.parse_args()
    print(f"{machine()}; {versions()}\n")
    print("### Beside a power meter\n")
    print_beside_the_meter(args.data_dir)
    print("### By simulation\n")
    print_simulated(args.logs)


def print_beside_the_meter(data_dir: Path | None) -> None:
    """Print the table of the recording, or that there is none."""
    folder = None if data_dir is None else Path(data_dir) / FOLDER
    if folder is None or not (folder / "rtx3090.csv").is_file():
        where = "no --data-dir, and no JOULELAB_DATA" if folder is None else f"none in {folder}"
        print(f"There is no recording of a GPU beside a power meter: {where}.\n")
        return
    unnamed = read_recording(folder / "rtx3090.csv")
    named = replace(unnamed, channel_samples=tuple(_named(one) for one in unnamed.channel_samples))
    with (folder / "rtx3090-meter.csv").open(encoding="utf-8") as file:
        windows = [tuple(map(float, row)) for row in list(csv.reader(file))[1:]]
    rows = []
    for length_s in sorted({round(to_s - from_s) for from_s, to_s, _ in windows}):
        some = [one for one in windows if round(one[1] - one[0]) == length_s]
        rows.append(_row(f"{length_s} s", (_beside(unnamed, some), _beside(named, some))))
    rows.append(_row("all", (_beside(unnamed, windows), _beside(named, windows))))
    head = ["window", "windows", "median error"]
    head += [f"{what}, {log}" for log in ("no name", CARD) for what in ("covered", "median bound")]
    print(table(head, rows))


def _named(samples: ChannelSamples) -> ChannelSamples:
    channel = replace(samples.channel, sensor=logged_sensor("power.draw", CARD))
    return replace(samples, channel=channel)


def _beside(recording: Recording, windows: Iterable[tuple[float, ...]]) -> list[Trial]:
    found = []
    for from_s, to_s, meter_j in windows:
        reading = recording.measure(from_s, to_s).readings[0]
        gross_j, error_j = reading.gross_j or 0.0, reading.error_j or 0.0
        found.append(Trial(gross_j / meter_j - 1, error_j / meter_j))
    return found


def print_simulated(logs: int) -> None:
    """Print the table of simulated sensors."""
    random = np.random.default_rng(1)
    rows = []
    for kind, card in CARDS.items():
        for length_s in LENGTHS_S:
            both = [
                [
                    one
                    for profile in PROFILES
                    for interval_s in INTERVALS_S
                    for _ in range(logs)
                    for one in trials(card, profile, interval_s, length_s, random, named=named)
                ]
                for named in (False, True)
            ]
            rows.append([kind, *_row(f"{length_s:g} s", both)])
    head = ["sensor", "window", "windows", "median error"]
    head += [f"{what}, {log}" for log in ("no name", "named") for what in ("covered", "bound")]
    print(table(head, rows))


def _row(label: str, both: Sequence[Sequence[Trial]]) -> list[str]:
    errors = [abs(one.error) for one in both[0]]
    cells = [label, f"{len(both[0])}", f"{100 * statistics.median(errors):.1f} %"]
    for found in both:
        covered = sum(one.covered for one in found) / len(found)
        width = statistics.median(one.bound for one in found)
        cells += [f"{100 * covered:.1f} %", f"± {100 * width:.0f} %"]
    return cells


if __name__ == "__main__":
    main()
