"""Measured blocks of code, and the monitor they share in a process.

::

    Monitor     meters, their recorder, place, locks of devices     one for each set of options
    Measuring   synchronise | open ... samples ... | synchronise, close        a window of a monitor

If torch has work on a GPU, the device is synchronised at both edges, so a window contains exactly
its own kernels.
"""

from __future__ import annotations

import atexit
import functools
import os
import sys
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, NoReturn, TypedDict, Unpack, cast, get_args

from joulelab.budget import Budget
from joulelab.energy import overlap
from joulelab.energy.agreement import Agreement
from joulelab.energy.booking import Booking
from joulelab.energy.detection import open_recorder
from joulelab.energy.ending import known_spent
from joulelab.energy.gathering import Gathering
from joulelab.energy.job import Node
from joulelab.energy.lock import DeviceLock, devices_of
from joulelab.energy.measurement import Measurement
from joulelab.energy.meter import Hidden
from joulelab.energy.order import already_started, not_ended, not_started
from joulelab.energy.overlap import Presence
from joulelab.energy.rank_notes import beside_recorder, other_environments, unread_gpus
from joulelab.energy.ranks import here
from joulelab.energy.reading import Reading, Status
from joulelab.energy.recorder import DEFAULT_INTERVAL_S, Recorder, Window
from joulelab.energy.traces.trace_file import TraceAbout, write_trace
from joulelab.errors import BudgetSpentError, DeviceBusyError, MeterError, SettingsError, suggestion

if TYPE_CHECKING:
    import pandas as pd

Busy = Literal["share", "wait", "refuse"]


LONGEST_INTERVAL_S = 60.0
KEPT_S = 0.5
"""How long devices stay locked after the last window."""


class Options(TypedDict, total=False):
    """How a monitor measures; all keys are optional.

    Attributes:
        meters: names such as ``"nvml"`` or ``"shelly:192.168.1.20"``; default: all that work here.
        domains: domains that count as the energy of a window; default: all known ones.
        interval_s: time between samples in seconds; default 0.1.
        place: origin of the electricity: a country, a region, grams of CO2e per kWh, or a CSV file
            of these over time; default: the user's settings.
        pue: power usage effectiveness of the data centre; default: the user's settings.
        strict: raise an error rather than estimate.
        busy: what to do if another program measures on a device: ``"share"`` it and flag the result
            (the default), ``"wait"`` for it, or ``"refuse"``.
        settings: of meters, by name, overriding the settings file.
        on_wait: called with a description of the process waited for.
    """

    meters: Sequence[str] | str | None
    domains: Sequence[str] | str | None
    interval_s: float
    place: str | float | None
    pue: float | None
    strict: bool
    busy: Busy
    settings: Mapping[str, Mapping[str, Any]]
    on_wait: Callable[[str], None] | None


class Monitor:
    """Open meters, and the annotation of their measurements.

    `joulelab.measure` creates one for each set of options and keeps it until the program ends;
    create one yourself to control when meters are opened and closed: ``with Monitor(...) as
    monitor``.

    Args:
        options: see `Options`.

    Raises:
        MeterError: a named meter cannot read anything; with ``strict``, nothing can be measured.
        UsageError: unknown meter, setting or place.
    """

    def __init__(self, **options: Unpack[Options]) -> None:
        for name in options:
            if name not in Options.__annotations__:
                hint = suggestion(name, Options.__annotations__)
                raise SettingsError(f"a measurement has no option {name!r}", hint)
        busy = options.get("busy", "share")
        interval_s = options.get("interval_s", DEFAULT_INTERVAL_S)
        if busy not in get_args(Busy):
            raise SettingsError(f"busy={busy!r} is unknown", f"one of {', '.join(get_args(Busy))}")
        if not 0 < interval_s <= LONGEST_INTERVAL_S:
            raise SettingsError(
                f"an interval of {interval_s:g} s between samples is impossible",
                f"above 0 and at most {LONGEST_INTERVAL_S:g} s; 0.1 is usual",
            )
        domains = options.get("domains")
        domains = [domains] if isinstance(domains, str) else domains
        self.domains = None if domains is None else tuple(domains)
        self.booking = Booking.of(options.get("place"), options.get("pue"))
        self._busy = busy
        self._on_wait = options.get("on_wait")
        meters, strict = options.get("meters"), options.get("strict", False)
        names = [meters] if isinstance(meters, str) else meters
        self.recorder = open_recorder(
            names, interval_s=interval_s, settings=options.get("settings"), estimates=not strict
        )
        try:
            if strict:
                check_measured(self.recorder)
            self._check_domains()
        except BaseException:
            self.recorder.close()
            raise
        self.recorder.start()
        self._locks = [DeviceLock(device) for device in devices(self.recorder)]
        self._presence = Presence(devices(self.recorder))
        self._windows = 0
        self._taken = False
        self._free_since_s = 0.0
        self._occupied: list[str] = []
        self._guard = threading.Lock()
        self.recorder.when_unused = self._give_back_unused

    def measure(self, label: str = "") -> Measuring:
        """Measure a block of code with this monitor; see `joulelab.energy.measuring.measure`.

        Args:
            label: what is measured, for the result.
        """
        return Measuring(lambda: self, label)

    def measure_idle(self, duration_s: float = 2.0) -> dict[str, float]:
        """Measure idle power while the caller waits, so that windows have net energy.

        Args:
            duration_s: duration in seconds.

        Returns:
            Watts by domain.
        """
        return dict(self.recorder.measure_idle(duration_s))

    def occupy(self, label: str) -> list[str]:
        """Lock the devices for one more window.

        Args:
            label: shown to waiting processes.

        Returns:
            Flags: who else measures on them.

        Raises:
            DeviceBusyError: another process does, and ``busy`` is ``"refuse"``.
        """
        with self._guard:
            if not self._taken:
                self._occupied = self._take(label)
                self._presence.label = label
                self._presence.enter()
                self._taken = True
            self._windows += 1
            return list(self._occupied)

    def vacate(self) -> None:
        """Note that a window has closed.

        The recorder's thread releases the devices a moment after the last window closes: a program
        that measures step after step would otherwise spend milliseconds on locks each time.
        """
        with self._guard:
            self._windows -= 1
            self._free_since_s = time.monotonic()
            # Shared devices are checked again, and a thread that rarely wakes releases nothing.
            if not self._windows and (self._occupied or self.recorder.interval_s > KEPT_S):
                self._release()

    def _give_back_unused(self) -> None:
        with self._guard:
            if not self._windows and time.monotonic() - self._free_since_s > KEPT_S:
                self._release()

    @property
    def devices(self) -> frozenset[str]:
        """The devices on which it measures, as far as they count."""
        return frozenset(devices(self.recorder, self.domains))

    @property
    def uuids(self) -> dict[str, str]:
        """UUIDs of the GPUs by domain, where their meter knows them."""
        about = [meter.describe() for meter in self.recorder.meters]
        return {
            key.removesuffix(" uuid"): value
            for one in about
            for key, value in one.items()
            if key.endswith(" uuid")
        }

    def hidden_from(self, environments: Sequence[Mapping[str, str]]) -> Hidden:
        """Domains that no program with one of these environments can use; they do not count.

        Args:
            environments: of the programs that are measured.
        """
        if self.domains is not None:
            return Hidden()
        gone: set[str] = set()
        notes: list[str] = []
        for meter in self.recorder.meters:
            each = [meter.hidden_from(environment) for environment in environments]
            common = frozenset.intersection(*(one.domains for one in each))
            gone |= common
            notes += [one.note for one in each if one.domains == common]
            if common and not any(one.domains == common for one in each):
                listed = ", ".join(sorted(common))
                notes.append(f"hidden from the measured program, not counted: {listed}")
        return Hidden(frozenset(gone), "; ".join(dict.fromkeys(filter(None, notes))))

    def finish(
        self,
        measurement: Measurement,
        window: Window,
        flags: Sequence[str] = (),
        hidden: Hidden | None = None,
    ) -> Measurement:
        """A measurement of this monitor's recorder completed with domains, flags and CO2e.

        Args:
            measurement: of `window`, partial or complete.
            window: its power trace gives the course of energy over time.
            flags: additional remarks on its quality.
            hidden: what does not count unless domains are named.
        """
        hidden = hidden or Hidden()
        said = [*flags, *self._presence.flags(window.started_s), hidden.note]
        whole = replace(
            measurement,
            domains=self.domains,
            flags=(*measurement.flags, *dict.fromkeys(filter(None, said))),
            left_out=tuple(sorted(hidden.domains)),
        )
        if self.booking is None:
            return whole
        return self.booking.book(whole, window.channel_samples, window.started_s)

    def close(self) -> None:
        """Close open windows and the meters."""
        self.recorder.close()
        with self._guard:
            self._release()

    def __reduce_ex__(self, _: object) -> NoReturn:
        raise MeterError(
            "a monitor has open meters and cannot be pickled or copied",
            "pickle its measurements, and open a monitor in the process that measures",
        )

    def __enter__(self) -> Monitor:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _take(self, label: str) -> list[str]:
        flags = []
        try:
            for lock in self._locks:
                lock.label = label
                try:
                    lock.acquire(wait=self._busy == "wait", on_wait=self._on_wait)
                except MeterError as error:
                    if self._busy != "share":
                        raise
                    as_well = " as well" if isinstance(error, DeviceBusyError) else ""
                    flags.append(f"{error.message}{as_well}")
        except BaseException:
            for lock in self._locks:
                lock.release()
            raise
        return flags

    def _release(self) -> None:
        if self._taken:
            self._taken = False
            self._presence.leave(self._free_since_s)
            for lock in self._locks:
                lock.release()

    def _check_domains(self) -> None:
        known = {channel.domain for channel in self.recorder.channels}
        for domain in self.domains or ():
            if domain not in known:
                why = [one for one in self.recorder.missing if one.domain == domain]
                raise MeterError(
                    f"the domain {domain!r} cannot be read here"
                    + (f": {why[0].reason}" if why else ""),
                    (why[0].remedy if why else "") or f"available: {', '.join(sorted(known))}",
                )


def check_measured(recorder: Recorder) -> None:
    """Raise if nothing can be measured on this machine.

    Raises:
        MeterError: no channel is measured.
    """
    if not any(channel.status is Status.MEASURED for channel in recorder.channels):
        why = [f"{one.domain}: {one.reason}" for one in recorder.missing]
        raise MeterError(
            "nothing can be measured here" + (f" ({'; '.join(why)})" if why else ""),
            "`joulelab doctor` says what would help; without --strict energy is estimated",
        )


def devices(recorder: Recorder, domains: Collection[str] | None = None) -> list[str]:
    """The devices of the domains, in a fixed order to avoid deadlock.

    Args:
        recorder: whose domains are used.
        domains: only these; ``None`` for all that it reads.
    """
    return devices_of(
        [channel.domain for channel in recorder.channels] if domains is None else domains
    )


def picklable(options: Mapping[str, Any]) -> Options:
    """Options for another process, without the callback `on_wait`.

    Args:
        options: see `Options`.
    """
    return cast("Options", {key: value for key, value in options.items() if key != "on_wait"})


class Measuring:
    """A measured block of code, running or finished; created by `measure`.

    Args:
        monitor: returns the monitor that measures it.
        label: what is measured, for the result.
        environments: of the measured programs, which determine their GPUs; default: that of this
            process. The GPUs of the other ranks on this node count too.

    After the block it has what a `Measurement` has: ``m.energy_j``, ``m["gpu:0"]``, ``print(m)``. A
    second ``with`` on the same object measures again. `uuids` are those of its GPUs. It can be
    pickled and copied before and after the block; a copy has the result and the samples, and opens
    its own meters to measure again.
    """

    def __init__(
        self,
        monitor: Callable[[], Monitor],
        label: str,
        environments: Sequence[Mapping[str, str]] | None = None,
    ) -> None:
        self.label = label
        self.budget: Budget | None = None
        self.on_budget: Literal["raise", "flag"] = "raise"
        self.over = False
        self.gathering: Gathering | None = None
        self.agreement: Agreement | None = None
        self.uuids: dict[str, str] = {}
        self._monitor = monitor
        self._about: TraceAbout | None = None
        self._environments = environments
        self._hidden = Hidden()
        self._span = overlap.Span(label, frozenset(), None)
        self._opened: Monitor | None = None
        self._window: Window | None = None
        self._result: Measurement | None = None
        self._own: Measurement | None = None
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
            # The error of the block is more important than a measurement error.
            if error is None:
                raise
            error.add_note(f"measuring {self.label!r} failed too: {own}")

    def start(self) -> None:
        """Open the window, for use without ``with``.

        Raises:
            MeterError: it is already open, or the meters cannot be opened.
        """
        if self._opened is not None:
            raise already_started(self.label)
        monitor = self._monitor()
        self._flags = monitor.occupy(self.label)
        try:
            self._flags += _synchronised()
            if self.gathering is not None:
                self.gathering.begin()
            self._hidden = self._hidden_here(monitor)
            rank = here()
            self._flags += [*unread_gpus(rank, len(monitor.uuids)), *beside_recorder(rank)]
            self._window = monitor.recorder.open(self.label)
        except BaseException:
            monitor.vacate()
            raise
        self._opened, self._result, self._own, self._about = monitor, None, None, None
        self._span = overlap.begin(self.label, monitor.devices)

    def _look_at_ranks(self) -> None:
        """See what the GPUs of ranks are that may have begun later."""
        if self._opened is not None and here().of_several:
            self._hidden = self._hidden_here(self._opened)

    def _hidden_here(self, monitor: Monitor) -> Hidden:
        """What no rank on this node can use."""
        own = self._environments or [os.environ]
        return monitor.hidden_from([*own, *other_environments(here())])

    def stop(self) -> Measurement:
        """Close the window and return its result; a second call returns the same.

        Raises:
            MeterError: it was never opened.
        """
        if self._opened is None or self._window is None:
            return self.result
        monitor = self._opened
        flags = _synchronised()
        try:
            measurement = self._window.close()
            overlap.end(self._span)
            self._look_at_ranks()
            flags = [*self._flags, *flags, *self._span.flags]
            self._own = monitor.finish(measurement, self._window, flags, self._hidden)
            self._result = self._own
        finally:
            overlap.end(self._span)
            self._opened = None
            monitor.vacate()
        self.uuids = monitor.uuids
        if self.gathering is not None:
            self._result = self.gathering.end(self._own, self.uuids)
        return self._result

    @property
    def of_node(self) -> Measurement:
        """The measurement of this node alone, where `result` is the sum over several.

        Raises:
            MeterError: the block has not finished.
        """
        return self.result if self._own is None else self._own

    def check(self) -> bool:
        """Whether the budget of `joulelab.measure` is spent.

        Raises:
            BudgetSpentError: it is, and ``on_budget`` is ``"raise"``.
            MeterError: what was spent is unknown.
        """
        if self.budget is None:
            return False
        amount = known_spent(self.so_far(), self.budget)
        said = f"{self.budget.words(amount)} of a budget of {self.budget} are spent"
        return self._check(said, over=amount >= self.budget.amount)

    def _check(self, said: str, *, over: bool) -> bool:
        """Whether any node's budget is spent."""
        self.over = self.agreement.any_over(over) if self.agreement else over
        if self.over and self.on_budget == "raise":
            raise BudgetSpentError(
                said if over else f"a budget of {self.budget} is spent, as another rank says",
                "give more, or end here",
            )
        return self.over

    def so_far(self) -> Measurement:
        """The result until now; the window stays open.

        Raises:
            MeterError: it was never started.
        """
        if self._opened is None or self._window is None:
            return self.result
        self._look_at_ranks()
        flags = [*self._flags, *self._span.flags]
        return self._opened.finish(self._window.so_far(), self._window, flags, self._hidden)

    @property
    def open_window(self) -> Window:
        """The window while it is open.

        Raises:
            MeterError: it is not.
        """
        if self._opened is None or self._window is None:
            raise MeterError(f"{self.label!r} is not being measured", "start it first")
        return self._window

    @property
    def result(self) -> Measurement:
        """The measurement of the finished block.

        Raises:
            MeterError: the block has not finished.
        """
        if self._result is None:
            raise not_started(self.label) if self._opened is None else not_ended(self.label)
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
        """Bound of the error of `net_j` in joules: of `energy_j` plus idle energy."""
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

    @property
    def nodes(self) -> tuple[Node, ...]:
        """What each node took; empty for a program of one process."""
        return self.result.nodes

    def __getitem__(self, domain: str) -> Reading:
        """The reading of a domain: of this node, unless another one is named: ``m["b/gpu:0"]``."""
        return (self.result if "/" in domain else self.of_node)[domain]

    def trace(self) -> pd.DataFrame:
        """The samples of the finished block, one row per sample and channel.

        Columns as in `joulelab.energy.summary.trace_columns`.
        """
        import pandas as pd

        return pd.DataFrame(self.window.trace_columns())

    def save_trace(self, path: str | Path) -> None:
        """Write the samples of the finished block as Parquet or CSV, by file suffix."""
        write_trace(Path(path), self.window.trace_columns(), self._trace_about())

    def _trace_about(self) -> TraceAbout:
        """Metadata of the samples; the meters are read when first needed."""
        if self._about is None:
            window, recorder = self.window, self._monitor().recorder
            self._about = TraceAbout.of(recorder, window.label, window.started_at)
        return self._about

    def __getstate__(self) -> dict[str, Any]:
        """Everything but the meters, the other windows, and the environments, which hold secrets.

        Raises:
            MeterError: the block has not finished.
        """
        if self._opened is not None:
            raise MeterError(
                f"{self.label!r} is still being measured and cannot be pickled or copied",
                "leave the block first, or use so_far(), which can be",
            )
        if self._result is not None:
            self._trace_about()
        left_here = {
            "_monitor": _elsewhere(self._monitor, self.label),
            "_environments": None,
            "gathering": None,
            "agreement": None,
            "_span": overlap.Span(self.label, frozenset(), None),
        }
        return {**vars(self), **left_here}

    @property
    def window(self) -> Window:
        """The window of the finished block, with its samples.

        Raises:
            MeterError: the block has not finished.
        """
        if self._window is None or self._result is None:
            raise not_started(self.label) if self._opened is None else not_ended(self.label)
        return self._window

    def __str__(self) -> str:
        return str(self._result) if self._result else repr(self)

    def __repr__(self) -> str:
        state = "open" if self._opened else "finished" if self._result else "not begun"
        return f"<joulelab.measure({self.label!r}): {state}>"

    def _repr_html_(self) -> str:
        """HTML for a notebook."""
        return self._result._repr_html_() if self._result else f"<code>{self!r}</code>"


def _elsewhere(monitor: Callable[[], Monitor], label: str) -> Callable[[], Monitor]:
    """Gets the monitor of a copy, possibly in another process."""
    if isinstance(monitor, functools.partial) and monitor.func is shared_monitor:
        return functools.partial(shared_monitor, **picklable(monitor.keywords))
    return functools.partial(_without_meters, label)


def _without_meters(label: str) -> Monitor:
    raise MeterError(
        f"this copy of {label!r} has no meters", "measure again with joulelab.measure(...)"
    )


def _synchronised() -> list[str]:
    """Wait until the GPU has finished torch's work; returns an error message, if any.

    torch is not imported for this: if it is not imported, it has no work on a GPU.
    """
    torch = sys.modules.get("torch")
    cuda = getattr(torch, "cuda", None)
    if torch is None or cuda is None:
        return []
    try:
        if cuda.is_initialized():
            for index in range(cuda.device_count()):
                # Synchronising an unused device would create a context on it.
                if index == cuda.current_device() or cuda.memory_reserved(index):
                    cuda.synchronize(index)
        mps = getattr(torch, "mps", None)
        if mps is not None and torch.backends.mps.is_available():
            mps.synchronize()
    except Exception as error:  # an error in the user's kernel shows up here first
        return [f"the device could not be synchronised: {str(error).partition(chr(10))[0]}"]
    return []


_SHARED: dict[str, Monitor] = {}
_SHARED_LOCK = threading.Lock()


def shared_monitor(**options: Unpack[Options]) -> Monitor:
    """The monitor of this process with these options; opened on first use.

    Args:
        options: see `Options`.
    """
    key = f"{os.getpid()} {sorted(options.items(), key=lambda item: item[0])!r}"
    with _SHARED_LOCK:
        if key not in _SHARED:
            _SHARED[key] = Monitor(**options)
        return _SHARED[key]


def close_shared() -> None:
    """Close all shared monitors; happens automatically at program exit."""
    with _SHARED_LOCK:
        while _SHARED:
            key, monitor = _SHARED.popitem()
            if key.startswith(f"{os.getpid()} "):
                monitor.close()


def _forget_after_fork() -> None:
    """A forked process has no sampling thread and opens its own meters."""
    global _SHARED_LOCK  # noqa: PLW0603 - the inherited one may be held by a thread that is gone
    _SHARED_LOCK = threading.Lock()
    _SHARED.clear()


atexit.register(close_shared)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_after_fork)
