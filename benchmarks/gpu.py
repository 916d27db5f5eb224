"""Counter against integrated power on a real NVIDIA GPU, and what reading it costs.

    python benchmarks/gpu.py [--seconds 30] [--device 0] [--loads idle product ...]

Prints Markdown for docs/accuracy.md. Every load runs in a window of two recorders over the same
card, one that reads the instant power field beside the counter and one that reads the average
field, both ten times a second::

    idle                nothing
    product             a large matrix product after the other
    square 0.5 s        half a second of products, half a second of nothing
    square 2 s          two seconds of products, two of nothing

Without torch on CUDA there is only the idle load. Without a GPU there is nothing to do.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pynvml
from figures import machine, quantile, spread, table, versions

from joulelab.energy.meters.nvml import NvmlMeter
from joulelab.energy.reading import Reading
from joulelab.energy.recorder import Recorder
from joulelab.errors import MeterError

SIZE = 8192
PRODUCTS = 4
"""Between two waits for the GPU, so that it is never without work."""
CALLS = 500
WINDOWS = 500
LOADS = ("idle", "product", "square 0.5 s", "square 2 s")


@dataclass(frozen=True)
class Found:
    """One load in one window.

    Attributes:
        load: its name.
        products: how many matrix products were done.
        seconds: length of the window.
        counter_j: by the counter; ``None`` where the card has none.
        instant_j: by the instant power field, or the ordinary one where the driver lacks it.
        average_j: by the average power field.
        error_j: bound of the figure.
        peak_w: highest power that was sampled.
        gap_s: longest between two samples.
        flags: what the measurement says of itself.
    """

    load: str
    products: int
    seconds: float
    counter_j: float | None
    instant_j: float | None
    average_j: float | None
    error_j: float | None
    peak_w: float | None
    gap_s: float
    flags: tuple[str, ...]


def main() -> None:
    """Measure and print, or say that there is no GPU."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=30.0)
    parser.add_argument("--settle", type=float, default=3.0, help="seconds before each load")
    parser.add_argument("--device", type=int, default=0, help="NVML's number of the GPU")
    parser.add_argument("--size", type=int, default=SIZE, help="rows of the matrices")
    parser.add_argument("--dtype", default="bfloat16", choices=("bfloat16", "float32"))
    parser.add_argument("--loads", nargs="+", default=list(LOADS), choices=LOADS)
    args = parser.parse_args()
    try:
        NvmlMeter([args.device]).close()
    except MeterError as error:
        print(f"There is no NVIDIA GPU to measure: {error.message}.")
        return
    product = None if args.loads == ["idle"] else matrix_product(args)
    if product is None and args.loads != ["idle"]:
        print("torch finds no CUDA: only the idle load is measured.", file=sys.stderr)
    loads = args.loads if product else ["idle"]
    print_card(args)
    print_energies([record(load, args, product) for load in loads])
    print_windows(args.device)
    print_calls(args.device)


def print_card(args: argparse.Namespace) -> None:
    """Print what was measured, with what."""
    device = args.device
    with Recorder([NvmlMeter([device])]) as recorder:
        about = dict(recorder.meters[0].describe())
        remarks = [channel.remark for channel in recorder.channels]
    print(f"{machine()}; {versions()}\n")
    rows = [[key.removeprefix(f"gpu:{device} "), value] for key, value in about.items()]
    rows = [row for row in rows if row[0] != "uuid"]
    rows += [["channel", remark] for remark in remarks]
    rows += [["product", f"of two {args.size} x {args.size} matrices, {args.dtype}"]]
    print(table(["card", ""], rows))


def print_energies(found: list[Found]) -> None:
    """Print counter and integrated power side by side."""
    rows = []
    for one in found:
        base_j = one.counter_j
        mean_w = (base_j if base_j is not None else one.instant_j or 0.0) / one.seconds
        rows.append(
            [
                one.load,
                f"{one.seconds:.2f} s",
                str(one.products),
                _joules(one.counter_j),
                f"{_joules(one.instant_j)} ({_against(one.instant_j, base_j)})",
                f"{_joules(one.average_j)} ({_against(one.average_j, base_j)})",
                "unknown" if one.error_j is None else f"{one.error_j:.0f} J",
                f"{mean_w:.1f} W",
                "unknown" if one.peak_w is None else f"{one.peak_w:.0f} W",
                f"{1e3 * one.gap_s:.0f} ms",
                "; ".join(one.flags) or "none",
            ]
        )
    head = ["load", "window", "products", "counter", "instant field", "average field"]
    print(table([*head, "bound", "mean power", "peak", "longest gap", "flags"], rows))
    print("In brackets: against the counter.\n")


def print_windows(device: int) -> None:
    """Print how long windows take on the real counter."""
    with Recorder([NvmlMeter([device])]) as recorder:
        opening, closing = [], []
        for number in range(WINDOWS + WINDOWS // 10):
            began_ns = time.perf_counter_ns()
            window = recorder.open("window")
            opened_ns = time.perf_counter_ns()
            window.close()
            closed_ns = time.perf_counter_ns()
            if number >= WINDOWS // 10:
                opening.append((opened_ns - began_ns) / 1e3)
                closing.append((closed_ns - opened_ns) / 1e3)
    both = [one + other for one, other in zip(opening, closing, strict=True)]
    rows = [
        [name, f"{quantile(us, 0.5):.0f} us", f"{quantile(us, 0.95):.0f} us"]
        for name, us in (("opening", opening), ("closing", closing), ("both", both))
    ]
    print(table([f"window ({WINDOWS})", "median", "95 % within"], rows))


def print_calls(device: int) -> None:
    """Print what each call of NVML costs that the meter makes."""
    pynvml.nvmlInit()
    try:
        handle = pynvml.nvmlDeviceGetHandleByIndex(device)
        rows = []
        for name, call in calls(handle).items():
            try:
                us = durations_us(call)
            except pynvml.NVMLError as error:
                rows.append([name, f"not here: {error}", ""])
                continue
            rows.append([name, spread(us), f"{quantile(us, 0.95):.1f}"])
    finally:
        pynvml.nvmlShutdown()
    print(table([f"call ({CALLS} times), us", "median (least to greatest)", "95 % within"], rows))


def calls(handle: Any) -> dict[str, Callable[[], object]]:  # noqa: ANN401 - a pointer of NVML
    """What the meter asks of a GPU."""
    field = pynvml.NVML_FI_DEV_POWER_INSTANT
    return {
        "TotalEnergyConsumption": lambda: pynvml.nvmlDeviceGetTotalEnergyConsumption(handle),
        "FieldValues, instant power": lambda: pynvml.nvmlDeviceGetFieldValues(handle, [field]),
        "PowerUsage": lambda: pynvml.nvmlDeviceGetPowerUsage(handle),
        "UtilizationRates": lambda: pynvml.nvmlDeviceGetUtilizationRates(handle),
        "Temperature": lambda: pynvml.nvmlDeviceGetTemperature(handle, 0),
        "ClockInfo": lambda: pynvml.nvmlDeviceGetClockInfo(handle, pynvml.NVML_CLOCK_SM),
        "EnforcedPowerLimit": lambda: pynvml.nvmlDeviceGetEnforcedPowerLimit(handle),
    }


def durations_us(call: Callable[[], object]) -> list[float]:
    """How long each of many calls takes, in microseconds."""
    found = []
    for _ in range(CALLS):
        began_ns = time.perf_counter_ns()
        call()
        found.append((time.perf_counter_ns() - began_ns) / 1e3)
    return found


def record(load: str, args: argparse.Namespace, product: Callable[[], None] | None) -> Found:
    """Run a load in a window of both recorders.

    Args:
        load: one of `LOADS`.
        args: NVML's number of the GPU; how long to wait before, and to run, in seconds.
        product: does some matrix products and waits for them.
    """
    device = args.device
    instant, average = (NvmlMeter([device], power_field=field) for field in ("instant", "average"))
    with Recorder([instant]) as first, Recorder([average]) as second:
        # The card comes to rest, and a mean over a second forgets what was before.
        time.sleep(args.settle)
        with first.open(load) as window, second.open(load) as beside:
            products = run_load(load, args.seconds, product)
        measurement, other = window.close(), beside.close()
    reading = measurement[f"gpu:{device}"]
    counter_j, instant_j = both_ways(reading)
    return Found(
        load,
        products,
        measurement.duration_s,
        counter_j,
        instant_j,
        both_ways(other[f"gpu:{device}"])[1],
        reading.error_j,
        reading.peak_power_w,
        measurement.longest_gap_s,
        measurement.flags,
    )


def both_ways(reading: Reading) -> tuple[float | None, float | None]:
    """Joules by the counter and by integrated power, as far as the card has both."""
    if reading.source == "nvml-counter":
        return reading.gross_j, reading.check_j
    return reading.check_j, reading.gross_j


def run_load(load: str, seconds: float, product: Callable[[], None] | None) -> int:
    """Keep the GPU busy in the way of a load; how many products were done."""
    end_s, done = time.monotonic() + seconds, 0
    if load == "idle" or product is None:
        time.sleep(seconds)
        return 0
    half_s = float(load.split()[1]) if load.startswith("square") else seconds
    while time.monotonic() < end_s:
        pause_s = min(end_s, time.monotonic() + half_s)
        while time.monotonic() < pause_s:
            product()
            done += PRODUCTS
        if load.startswith("square"):
            time.sleep(max(0.0, min(half_s, end_s - time.monotonic())))
    return done


def matrix_product(args: argparse.Namespace) -> Callable[[], None] | None:
    """Some products of two large matrices on the GPU; ``None`` where torch has no CUDA.

    Args:
        args: NVML's number of the GPU, as torch numbers differently; rows and type of the matrices.
    """
    try:
        import torch
    except ImportError:
        return None
    if not torch.cuda.is_available():
        return None
    cuda, dtype = cuda_device(args.device), getattr(torch, args.dtype)
    left = torch.randn(args.size, args.size, device=cuda, dtype=dtype)
    right = torch.randn(args.size, args.size, device=cuda, dtype=dtype)
    into = torch.empty_like(left)

    def product() -> None:
        for _ in range(PRODUCTS):
            torch.matmul(left, right, out=into)
        torch.cuda.synchronize(cuda)

    product()
    return product


def cuda_device(device: int) -> str:
    """The name in torch of the GPU that NVML gives a number.

    Raises:
        SystemExit: torch does not see that GPU.
    """
    import torch

    from joulelab.energy.meters.nvml import gpu_index

    for number in range(torch.cuda.device_count()):
        if gpu_index(str(torch.cuda.get_device_properties(number).uuid)) == device:
            return f"cuda:{number}"
    sys.exit(f"torch does not see GPU {device} of NVML: look at CUDA_VISIBLE_DEVICES")


def _joules(energy_j: float | None) -> str:
    return "none" if energy_j is None else f"{energy_j:.1f} J"


def _against(energy_j: float | None, base_j: float | None) -> str:
    return f"{100 * (energy_j / base_j - 1):+.2f} %" if energy_j and base_j else "-"


if __name__ == "__main__":
    main()
