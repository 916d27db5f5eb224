"""A codecarbon tracker in the background, without side effects.

It sends nothing, writes no file and takes no lock: all such options are set here, overriding its
settings file and environment variables. Country and carbon intensity are required but not used. Its
log is suppressed while a tracker is open; level and handlers of that log stay unchanged.

Totals arrive through an output handler that codecarbon calls after each measurement. Its
instruments are only in a private attribute, see `_components`.
"""
# ruff: noqa: ANN401 - objects of codecarbon, which is imported late

from __future__ import annotations

import contextlib
import importlib
import importlib.metadata
import inspect
import logging
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from joulelab.errors import MeterError, MissingDependencyError, SettingsError, suggestion

J_PER_KWH = 3.6e6
STOP_S = 10.0
# Modules that it would import during its first measurement, while its clock runs.
_LOADED_LATE = ("codecarbon.core.emissions", "codecarbon.external.geography")
_REMEDY = "pip install 'codecarbon>=3.3,<4'"


@dataclass(frozen=True)
class Totals:
    """One measurement of codecarbon.

    Attributes:
        at_s: its time on the monotonic clock.
        energy_j: joules since the tracker was started, by component: ``cpu``, ``gpu``, ``ram``.
    """

    at_s: float
    energy_j: Mapping[str, float]


@dataclass(frozen=True)
class Component:
    """A component of codecarbon, and how it is measured.

    Attributes:
        name: ``"cpu"``, ``"gpu"`` or ``"ram"``.
        mode: codecarbon's name of the method: ``"intel_rapl"``, ``"cpu_load"``, ``"constant"`` ...
        model: of the processor, or of the GPUs.
        tdp_w: the power that an estimate is based on, in watts: of a processor its design power.
        indices: numbers of the GPUs.
    """

    name: str
    mode: str
    model: str = ""
    tdp_w: float | None = None
    indices: tuple[int, ...] = ()


class Tracker:
    """A running tracker.

    Args:
        country: three-letter ISO 3166 code.
        interval_s: how often codecarbon measures, in seconds.
        take: called with the totals after each measurement, from a thread of codecarbon.

    Attributes:
        version: of codecarbon.
        components: what it measures, and how.

    Raises:
        MissingDependencyError: codecarbon is not installed.
        SettingsError: codecarbon does not know the country.
        MeterError: it does not start, or does not report its instruments.
    """

    def __init__(self, country: str, interval_s: float, take: Callable[[Totals], None]) -> None:
        self._tracker: Any | None = None
        self._silence = _Silence()
        logging.getLogger("codecarbon").addFilter(self._silence)
        try:
            library = _library()
            self.version = importlib.metadata.version("codecarbon")
            _check_country(country)
            with _unchanged_log():
                self._tracker = _make(library, country, interval_s, _Handler(take))
                self._tracker.start()
            if not any(_timers(self._tracker)):
                why = self.complaint or "no reason given"
                raise MeterError(f"codecarbon {self.version} did not start: {why}", _REMEDY)
            self.components = tuple(_components(self._tracker, self.version))
        except BaseException:
            self.stop()
            raise

    @property
    def complaint(self) -> str:
        """The last warning in codecarbon's log; empty if none."""
        return self._silence.complaint

    def stop(self) -> None:
        """Stop it and wait for its threads. A second call has no effect."""
        tracker, self._tracker = self._tracker, None
        if tracker is not None:
            # Before: a timer that measures while the tracker stops finds no start time.
            _end_timers(tracker)
            with _unchanged_log():
                tracker.stop()
        logging.getLogger("codecarbon").removeFilter(self._silence)


class _Handler:
    """Output handler that receives codecarbon's results; see its class BaseOutput."""

    def __init__(self, take: Callable[[Totals], None]) -> None:
        self._take = take
        self._start_s: float | None = None

    def live_out(self, total: Any, delta: object) -> None:
        """The results so far, with the time at which codecarbon added them up."""
        if self._start_s is None:
            self._start_s = time.monotonic() - total.duration
        kwh = {"cpu": total.cpu_energy, "gpu": total.gpu_energy, "ram": total.ram_energy}
        energy_j = {name: value * J_PER_KWH for name, value in kwh.items()}
        self._take(Totals(self._start_s + total.duration, energy_j))

    def out(self, total: object, delta: object) -> None:
        """The results at the end."""

    def exit(self) -> None:
        """The end."""


class _Silence(logging.Filter):
    """Suppresses codecarbon's log, and keeps the last warning."""

    def __init__(self) -> None:
        super().__init__()
        self.complaint = ""

    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno >= logging.WARNING:
            cause = record.exc_info[1] if record.exc_info else None
            text = f"{type(cause).__name__}: {cause}" if cause else record.getMessage()
            # It frames each exception report with lines that are not part of it.
            if text not in ("graceful shutdown. Exceptions:", "stopping."):
                self.complaint = " ".join(text.split())
        return False


@contextlib.contextmanager
def _unchanged_log() -> Iterator[None]:
    """Restore level and handlers of codecarbon's log after a tracker's constructor."""
    logger = logging.getLogger("codecarbon")
    level, handlers = logger.level, list(logger.handlers)
    try:
        yield
    finally:
        logger.setLevel(level)
        logger.handlers[:] = handlers


def _library() -> ModuleType:
    """Import codecarbon, which prints if amdsmi is installed without AMD's driver."""
    try:
        with contextlib.redirect_stdout(None):
            for name in _LOADED_LATE:
                with contextlib.suppress(ImportError):
                    importlib.import_module(name)
            return importlib.import_module("codecarbon.emissions_tracker")
    except ImportError as error:
        raise MissingDependencyError(f"codecarbon cannot be used: {error}", _REMEDY) from error


def _check_country(country: str) -> None:
    known = importlib.import_module("codecarbon.input").DataSource().get_global_energy_mix_data()
    if country not in known:
        raise SettingsError(
            f"codecarbon knows no country {country!r}", suggestion(country, sorted(known))
        )


def _make(library: ModuleType, country: str, interval_s: float, handler: _Handler) -> Any:
    """A tracker that is not started yet.

    Args:
        library: the module of the trackers.
        country: as for `Tracker`.
        interval_s: as for `Tracker`.
        handler: receives the results.

    Raises:
        MeterError: codecarbon is too old.
    """
    if "output_methods" not in inspect.signature(library.BaseEmissionsTracker).parameters:
        raise MeterError("codecarbon is too old: this meter needs 3.3 or later", _REMEDY)
    tracker: Any = library.OfflineEmissionsTracker(
        country_iso_code=country,
        region=None,
        cloud_provider=None,
        cloud_region=None,
        country_2letter_iso_code=None,
        measure_power_secs=interval_s,
        api_call_interval=1,  # the handler is called after each measurement
        output_handlers=[handler],
        output_methods=[],
        output_dir=tempfile.gettempdir(),
        emissions_endpoint=None,
        electricitymaps_api_token="",  # with None it looks for one in its settings
        force_carbon_intensity_g_co2e_kwh=0.0,
        allow_multiple_runs=True,
        tracking_mode="machine",
        pue=1.0,  # it multiplies energy, not only carbon
        wue=0.0,
        rapl_include_dram=False,
        rapl_prefer_psys=False,
        log_level="error",
        logger_preamble="",
    )
    return tracker


def _components(tracker: object, version: str) -> Iterator[Component]:
    """Instruments of codecarbon, from a private attribute, the only source.

    Raises:
        MeterError: the attribute is missing, or differs from codecarbon 3.3.
    """
    hardware = getattr(tracker, "_hardware", None)
    if not hardware:
        raise MeterError(
            f"codecarbon {version} does not report its instruments: measured and estimated values "
            "cannot be distinguished",
            _REMEDY,
        )
    for part in hardware:
        kind = type(part).__name__
        model = str(getattr(part, "_model", None) or "")
        if kind == "CPU":
            tdp_w = getattr(part, "_tdp", None)
            yield Component("cpu", str(getattr(part, "_mode", "unknown")), model, tdp_w)
        elif kind == "RAM":
            forced_w = getattr(part, "_force_ram_power", None)
            yield Component("ram", "model" if forced_w is None else "constant", "", forced_w)
        elif kind == "GPU":
            chosen = [one for one in part.devices.devices if one.gpu_index in part.gpu_ids]
            vendors = {type(one).__name__ for one in chosen}
            mode = "nvml" if vendors == {"NvidiaGPUDevice"} else "amdsmi"
            names = ", ".join(str(one.get_static_details()["name"]) for one in chosen)
            yield Component("gpu", mode, names, None, tuple(one.gpu_index for one in chosen))
        elif kind in ("AppleSiliconChip", "Raspberry"):
            yield Component(str(part.chip_part).lower(), kind, model)


def _timers(tracker: object) -> Iterator[threading.Timer]:
    """The threads in which codecarbon measures: timers of a scheduler of this tracker."""
    for thread in threading.enumerate():
        if isinstance(thread, threading.Timer):
            scheduler = getattr(thread.function, "__self__", None)
            if getattr(getattr(scheduler, "function", None), "__self__", None) is tracker:
                yield thread


def _end_timers(tracker: object) -> None:
    """Wait until the last timer is gone.

    A timer that is about to run starts the next one, endlessly: cancel timers until none is left.
    """
    deadline_s = time.monotonic() + STOP_S
    while timers := list(_timers(tracker)):
        for timer in timers:  # all before any is waited for: meanwhile the next would begin
            timer.cancel()
        for timer in timers:
            timer.join(max(0.0, deadline_s - time.monotonic()))
        if time.monotonic() > deadline_s:
            return  # they are daemons: they do not keep the program alive
