"""The sensors that the benchmarks read, where every joule is known: a GPU and a powercap tree.

The GPU is the stand-in for NVIDIA's library of the tests (`tests/energy/stub_nvml.c`), which draws
synthetic power in real time; every tool that loads it sees the same GPU. A library is chosen when a
program starts, so a benchmark starts itself once more, in an environment of its own::

    python benchmarks/windows.py
      folder with library, powercap tree, empty settings, locks
        python benchmarks/windows.py, and its worker processes

Where compiled Python may not be written, every import would be charged with the compiler; there it
is written into the temporary folder of the system.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

_TESTS = Path(__file__).resolve().parent.parent / "tests" / "energy"
sys.path.insert(0, str(_TESTS))

from nvml_stub import build_stub, stub_variables  # noqa: E402 - found by the path above
from synthetic_power import (  # noqa: E402
    SHAPES,
    Shape,
    Trace,
    exact_energy_j,
    exact_power_w,
)

__all__ = ["SHAPES", "Shape", "Trace", "exact_energy_j", "exact_power_w"]

FOLDER_VARIABLE = "JOULELAB_BENCHMARK_FOLDER"
RAPL_RANGE_UJ = 262_143_328_850
RAPL_FIRST_UJ = 123_456_789_012
RAPL_W = 50.0
RAPL_STEP_S = 0.002
ZONES = {
    "intel-rapl:0": "package-0",
    "intel-rapl:0:0": "core",
    "intel-rapl:0:1": "dram",
    "intel-rapl:1": "psys",
}

# Two kinds of sensor. The first hides nothing, so that an error is that of the tool; the second
# behaves as that of an H100 (arXiv 2312.02741): a counter that moves ten times a second, and power
# that sees a quarter of the time.
IDEAL = {
    "STUB_TICK_MS": "1",
    "STUB_UPDATE_MS": "1",
    "STUB_INSTANT_MS": "1",
    "STUB_AVERAGE_MS": "1",
}
H100 = {
    "STUB_TICK_MS": "100",
    "STUB_UPDATE_MS": "100",
    "STUB_INSTANT_MS": "25",
    "STUB_AVERAGE_MS": "1000",
}
NO_COUNTER = {"STUB_ENERGY": "3"}


def run(main: Callable[[], None]) -> None:
    """Run a benchmark in the environment of the simulated sensors.

    Args:
        main: what the benchmark does.
    """
    if FOLDER_VARIABLE in os.environ:
        main()
        return
    with TemporaryDirectory(prefix="joulelab-benchmark-") as folder:
        variables = environment(Path(folder))
        with counting(Path(folder) / "powercap"):
            done = subprocess.run([sys.executable, *sys.argv], env=variables, check=False)
    sys.exit(done.returncode)


def environment(folder: Path) -> dict[str, str]:
    """Build the sensors in a folder, and give the environment of programs that read them."""
    if build_stub(folder) is None:
        sys.exit("a C compiler is needed for the simulated GPU: install gcc")
    (folder / "settings.toml").touch()
    build_powercap(folder / "powercap")
    return {
        **_compiling(),
        **stub_variables(folder),
        FOLDER_VARIABLE: str(folder),
        "JOULELAB_SETTINGS": str(folder / "settings.toml"),
        "JOULELAB_LOCK_DIR": str(folder / "locks"),
        "JOULELAB_POWERCAP": str(folder / "powercap"),
        # CodeCarbon reads settings there as well.
        "HOME": str(folder),
    }


def _compiling() -> dict[str, str]:
    """The environment of this process, in which Python keeps what it has compiled."""
    variables = dict(os.environ)
    if variables.pop("PYTHONDONTWRITEBYTECODE", ""):
        # Not in the temporary folder: whoever can write there would write what is run here.
        cache = Path(variables.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        variables.setdefault("PYTHONPYCACHEPREFIX", str(cache / "joulelab" / "compiled"))
    return variables


def build_powercap(root: Path) -> None:
    """Write a powercap tree with the counters of one processor."""
    for key, name in ZONES.items():
        zone = root / key
        zone.mkdir(parents=True)
        (zone / "name").write_text(f"{name}\n")
        (zone / "energy_uj").write_text(f"{RAPL_FIRST_UJ}\n")
        (zone / "max_energy_range_uj").write_text(f"{RAPL_RANGE_UJ}\n")


@contextmanager
def counting(root: Path) -> Iterator[None]:
    """Let the counters of a powercap tree rise by `RAPL_W`, from a thread of this process.

    One that stands still is no measurement.
    """
    ended = threading.Event()
    thread = threading.Thread(target=_count, args=(root, ended), daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _count(root: Path, ended: threading.Event) -> None:
    with ExitStack() as stack:
        files = [
            stack.enter_context((root / key / "energy_uj").open("r+b", buffering=0))
            for key in ZONES
        ]
        begun_s = time.monotonic()
        while not ended.wait(RAPL_STEP_S):
            counted_uj = round(1e6 * RAPL_W * (time.monotonic() - begun_s))
            for file in files:
                # As many digits as before, and at once: whoever reads sees one value or the other.
                os.pwrite(file.fileno(), f"{RAPL_FIRST_UJ + counted_uj}\n".encode(), 0)


def draw(trace: Trace, sensors: Mapping[str, str]) -> None:
    """Let the GPU that this process sees draw a trace.

    Args:
        trace: what it draws.
        sensors: how its sensors work: `IDEAL` or `H100`, and `NO_COUNTER`.
    """
    os.environ.update(trace.variables())
    os.environ.update(sensors)
