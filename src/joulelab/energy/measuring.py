"""Measuring a block of code or a function, in one line.

::

    with joulelab.measure("epoch") as m:          @joulelab.measured
        train()                                    def train(): ...
    print(m)                                       train()
    m.energy_j, m["gpu:0"].net_j                   train.measurements[-1]

    synchronise | open ... samples ... | synchronise, close        the edges of a window

Windows may nest and overlap, and be opened in one thread and closed in another. A meter reads the
machine and not the block: what else runs meanwhile, another thread or another task of the event
loop, is in the figure. Where torch has work on a GPU, the device is synchronised at both edges, so
that a window holds its own kernels and no others.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Unpack

from joulelab.energy.display import html, text
from joulelab.energy.monitor import Monitor, Options, shared_monitor
from joulelab.energy.reading import Measurement, Reading, Status
from joulelab.energy.recorder import Window
from joulelab.errors import MeterError

if TYPE_CHECKING:
    import pandas as pd


def measure(label: str = "", **options: Unpack[Options]) -> Measuring:
    """Measure a block of code: ``with joulelab.measure("epoch") as m: ...``.

    Args:
        label: what is measured, for the result.
        options: see `joulelab.energy.monitor.Options`; measurements with the same options share
            their meters.

    Raises:
        MeterError: at the opening, where meters cannot be opened or, with ``strict=True``, nothing
            can be measured.
    """
    return Measuring(lambda: shared_monitor(**options), label)


def measure_idle(duration_s: float = 2.0, **options: Unpack[Options]) -> dict[str, float]:
    """Measure idle power while the caller does nothing, so that later windows have net energy.

    Args:
        duration_s: how long, in seconds.
        options: those of the measurements that it is for.

    Returns:
        Watts by domain.
    """
    return shared_monitor(**options).measure_idle(duration_s)


class Measuring:
    """A block of code that is being measured, or has been; made by `measure`.

    After the block it has what a `Measurement` has: ``m.energy_j``, ``m["gpu:0"]``, ``print(m)``. A
    second ``with`` on the same object measures anew.
    """

    def __init__(self, monitor: Callable[[], Monitor], label: str) -> None:
        self.label = label
        self._monitor = monitor
        self._opened: Monitor | None = None
        self._window: Window | None = None
        self._result: Measurement | None = None
        self._flags: list[str] = []

    def __enter__(self) -> Measuring:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        try:
            self.stop()
        except Exception as own:
            # The error of the block matters more than that of measuring it.
            if error is None:
                raise
            error.add_note(f"measuring {self.label!r} failed too: {own}")

    def start(self) -> None:
        """Open the window, for where a ``with`` does not fit.

        Raises:
            MeterError: it is open already, or the meters cannot be opened.
        """
        if self._opened is not None:
            raise MeterError(f"{self.label!r} is being measured already", "stop it first")
        monitor = self._monitor()
        self._flags = monitor.occupy(self.label)
        try:
            self._flags += _synchronised()
            self._window = monitor.recorder.open(self.label)
        except BaseException:
            monitor.vacate()
            raise
        self._opened, self._result = monitor, None

    def stop(self) -> Measurement:
        """Close the window and give its result; a second call gives the same.

        Raises:
            MeterError: it was never opened.
        """
        if self._opened is None or self._window is None:
            return self.result
        monitor = self._opened
        flags = _synchronised()
        try:
            measurement = self._window.close()
        finally:
            self._opened = None
            monitor.vacate()
        self._result = monitor.finish(measurement, self._window, [*self._flags, *flags])
        return self._result

    def so_far(self) -> Measurement:
        """The result until now; the window stays open."""
        if self._opened is None or self._window is None:
            return self.result
        return self._opened.finish(self._window.so_far(), self._window, self._flags)

    @property
    def result(self) -> Measurement:
        """The measurement of the finished block.

        Raises:
            MeterError: the block has not finished.
        """
        if self._result is None:
            raise MeterError(
                f"{self.label!r} has not been measured yet", "leave the block, or use so_far()"
            )
        return self._result

    @property
    def energy_j(self) -> float | None:
        """Gross energy in joules over the domains that count; ``None`` where unknown."""
        return self.result.energy_j

    @property
    def net_j(self) -> float | None:
        """Gross less idle energy in joules; ``None`` where either is unknown."""
        return self.result.total.net_j

    @property
    def error_j(self) -> float | None:
        """Bound of the error of `energy_j` in joules."""
        return self.result.total.error_j

    @property
    def net_error_j(self) -> float | None:
        """Bound of the error of `net_j` in joules: that of `energy_j` and that of idle energy."""
        return self.result.total.net_error_j

    @property
    def status(self) -> Status:
        """Measured, partly estimated, estimated or missing."""
        return self.result.total.status

    @property
    def duration_s(self) -> float:
        """Length of the window in seconds."""
        return self.result.duration_s

    @property
    def co2e_g(self) -> float | None:
        """Carbon dioxide equivalent in grams; ``None`` where place or energy is unknown."""
        return self.result.co2e_g

    def __getitem__(self, domain: str) -> Reading:
        return self.result[domain]

    def trace(self) -> pd.DataFrame:
        """The samples of the finished block, a row a sample and channel.

        Columns: as of `joulelab.energy.summary.trace_columns`.
        """
        import pandas as pd

        return pd.DataFrame(self.window.trace_columns())

    def save_trace(self, path: str | Path) -> None:
        """Write the samples of the finished block as Parquet or CSV, by the end of the name."""
        from joulelab.energy.traces.trace_file import TraceAbout, write_trace

        window, monitor = self.window, self._monitor()
        about = TraceAbout.of(monitor.recorder, window.label, window.started_at)
        write_trace(Path(path), window.trace_columns(), about)

    @property
    def window(self) -> Window:
        """The window of the finished block, with its samples.

        Raises:
            MeterError: the block has not finished.
        """
        if self._window is None or self._result is None:
            raise MeterError(f"{self.label!r} has not been measured yet", "leave the block first")
        return self._window

    def __str__(self) -> str:
        return text(self._result) if self._result else repr(self)

    def __repr__(self) -> str:
        state = "open" if self._opened else "finished" if self._result else "not begun"
        return f"<joulelab.measure({self.label!r}): {state}>"

    def _repr_html_(self) -> str:
        """What a notebook shows."""
        return html(self._result) if self._result else f"<code>{self!r}</code>"


def _synchronised() -> list[str]:
    """Wait until the GPU has done what torch has asked of it; says what went wrong, if anything.

    torch is not imported for this: who has not imported it has no work on a GPU through it.
    """
    torch = sys.modules.get("torch")
    cuda = getattr(torch, "cuda", None)
    if torch is None or cuda is None:
        return []
    try:
        if cuda.is_initialized():
            for index in range(cuda.device_count()):
                # A look at a device that is not in use would put a context onto it.
                if index == cuda.current_device() or cuda.memory_reserved(index):
                    cuda.synchronize(index)
        mps = getattr(torch, "mps", None)
        if mps is not None and torch.backends.mps.is_available():
            mps.synchronize()
    except Exception as error:  # an error of the user's own kernel shows up here first
        return [f"the device could not be synchronised: {str(error).partition(chr(10))[0]}"]
    return []
