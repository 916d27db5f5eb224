"""What measurements of one process share: meters, their recorder, place, and locks of devices."""

from __future__ import annotations

import atexit
import os
import threading
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, NoReturn, TypedDict, Unpack, cast, get_args

from joulelab.energy.carbon.footprint import (
    carbon_intensity,
    checked_pue,
    default_place,
    default_pue,
    footprint,
)
from joulelab.energy.carbon.intensity import Intensity, IntensitySeries
from joulelab.energy.detection import open_recorder
from joulelab.energy.lock import DeviceLock
from joulelab.energy.meter import Hidden
from joulelab.energy.presence import Presence
from joulelab.energy.reading import Measurement, Status
from joulelab.energy.recorder import DEFAULT_INTERVAL_S, Recorder, Window
from joulelab.energy.sample_buffer import ChannelSamples
from joulelab.energy.summary import energy_profile
from joulelab.errors import DeviceBusyError, MeterError, SettingsError, suggestion

if TYPE_CHECKING:
    from joulelab.energy.measuring import Measuring

Busy = Literal["share", "wait", "refuse"]


LONGEST_INTERVAL_S = 60.0
KEPT_S = 0.5
"""How long devices stay taken after the last window."""


class Options(TypedDict, total=False):
    """How a monitor measures; every key may be left out.

    Attributes:
        meters: names, as ``"nvml"`` or ``"shelly:192.168.1.20"``; all that work here where not
            given.
        domains: those that count as the energy of a window; all that are known where not given.
        interval_s: time between two samples in seconds; 0.1 where not given.
        place: where the electricity is from: a country, a region, grams of CO2e per kWh, or a CSV
            of them over time; the user's settings where not given.
        pue: power usage effectiveness of the building; the user's settings where not given.
        strict: no estimates: measured, or an error.
        busy: what to do while another program measures on a device: ``"share"`` it and flag the
            result (the default), ``"wait"`` for it, or ``"refuse"``.
        settings: of meters, by name, on top of those of the settings file.
        on_wait: told, in words, who is being waited for.
    """

    meters: Sequence[str] | str | None
    domains: Sequence[str] | None
    interval_s: float
    place: str | float | None
    pue: float | None
    strict: bool
    busy: Busy
    settings: Mapping[str, Mapping[str, Any]]
    on_wait: Callable[[str], None] | None


@dataclass(frozen=True)
class Booking:
    """How energy becomes carbon dioxide: where the electricity is from, and the building's share.

    Attributes:
        intensity: constant, or over time.
        pue: power usage effectiveness.
    """

    intensity: Intensity | IntensitySeries
    pue: float

    @classmethod
    def of(cls, place: str | float | None, pue: float | None) -> Booking | None:
        """What the user has named, or set; ``None`` where no place is known.

        Args:
            place: as for `Options`.
            pue: as for `Options`.

        Raises:
            UsageError: there is no such place, or no such PUE.
        """
        pue = default_pue() if pue is None else checked_pue(pue)
        place = default_place() if place is None else place
        return None if place is None else cls(carbon_intensity(place), pue)

    def book(
        self,
        measurement: Measurement,
        channel_samples: Sequence[ChannelSamples] = (),
        start_s: float = 0.0,
    ) -> Measurement:
        """A measurement with its footprint.

        Args:
            measurement: of one window.
            channel_samples: its samples, which spread its energy over time.
            start_s: its opening on their clock.
        """
        total, profile = measurement.total, None
        if isinstance(self.intensity, IntensitySeries):
            end_s = start_s + measurement.duration_s
            profile = energy_profile(channel_samples, total, start_s, end_s)
        booked = footprint(
            total.gross_j,
            total.error_j,
            measurement.started_at,
            measurement.duration_s,
            self.intensity,
            self.pue,
            profile,
        )
        return replace(measurement, footprint=booked)


class Monitor:
    """Meters that are open, and what is to be said of their measurements.

    `joulelab.measure` makes one for each set of options and keeps it until the program ends; make
    one yourself to decide when meters are opened and closed: ``with Monitor(...) as monitor``.

    Args:
        options: see `Options`.

    Raises:
        MeterError: a meter that was named finds nothing to read; with ``strict``, nothing can be
            measured.
        UsageError: no such meter, setting or place.
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
        self.domains = None if domains is None else tuple(domains)
        self.booking = Booking.of(options.get("place"), options.get("pue"))
        self._busy = busy
        self._on_wait = options.get("on_wait")
        meters, strict = options.get("meters"), options.get("strict", False)
        names = [meters] if isinstance(meters, str) else meters
        self.recorder = open_recorder(
            names,
            interval_s=interval_s,
            settings=options.get("settings"),
            estimates=not strict,
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
        from joulelab.energy.measuring import Measuring

        return Measuring(lambda: self, label)

    def measure_idle(self, duration_s: float = 2.0) -> dict[str, float]:
        """Measure idle power while the caller does nothing, so that windows have net energy.

        Args:
            duration_s: how long, in seconds.

        Returns:
            Watts by domain.
        """
        return dict(self.recorder.measure_idle(duration_s))

    def occupy(self, label: str) -> list[str]:
        """Take the devices for one more window.

        Args:
            label: told to those who wait for it.

        Returns:
            What is to be flagged: who else measures on them.

        Raises:
            DeviceBusyError: somebody does, and it is to be refused.
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
        """Say that a window has closed.

        The devices are given back a moment after the last one, by the recorder's thread: a program
        that measures step after step would else spend milliseconds on locks at each.
        """
        with self._guard:
            self._windows -= 1
            self._free_since_s = time.monotonic()
            # Shared devices are looked at anew, and a thread that seldom wakes gives nothing back.
            if not self._windows and (self._occupied or self.recorder.interval_s > KEPT_S):
                self._release()

    def _give_back_unused(self) -> None:
        with self._guard:
            if not self._windows and time.monotonic() - self._free_since_s > KEPT_S:
                self._release()

    @property
    def devices(self) -> frozenset[str]:
        """On which it measures, as far as that counts."""
        return frozenset(devices(self.recorder, self.domains))

    def hidden_from(self, environments: Sequence[Mapping[str, str]]) -> Hidden:
        """What no program with one of these environments can use; it does not count.

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
                notes.append(f"hidden from all that was measured, and not counted: {listed}")
        return Hidden(frozenset(gone), "; ".join(dict.fromkeys(filter(None, notes))))

    def finish(
        self,
        measurement: Measurement,
        window: Window,
        flags: Sequence[str] = (),
        hidden: Hidden | None = None,
    ) -> Measurement:
        """A measurement of this monitor's recorder with what it lacks: domains, flags, CO2e.

        Args:
            measurement: of `window`, so far or whole.
            window: whose power trace spreads the energy over time.
            flags: more remarks on its quality.
            hidden: what does not count, where domains are not named.
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
            "pickle its measurements; open another monitor where you measure",
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
                    (why[0].remedy if why else "") or f"there are {', '.join(sorted(known))}",
                )


def check_measured(recorder: Recorder) -> None:
    """Refuse a machine on which nothing can be measured.

    Raises:
        MeterError: no channel is measured.
    """
    if not any(channel.status is Status.MEASURED for channel in recorder.channels):
        why = [f"{one.domain}: {one.reason}" for one in recorder.missing]
        raise MeterError(
            "nothing can be measured here" + (f" ({'; '.join(why)})" if why else ""),
            "`joulelab doctor` says what would help; without --strict there are estimates",
        )


def devices(recorder: Recorder, domains: Collection[str] | None = None) -> list[str]:
    """The devices that the domains belong to, in one order for everybody: no deadlock.

    Args:
        recorder: whose domains.
        domains: only these; all that it reads where ``None``.
    """
    domains = {channel.domain for channel in recorder.channels} if domains is None else domains
    return sorted({domain if domain.startswith("gpu:") else "cpu" for domain in domains})


def picklable(options: Mapping[str, Any]) -> Options:
    """Options for another process: whom to tell who is being waited for stays in this one.

    Args:
        options: see `Options`.
    """
    return cast("Options", {key: value for key, value in options.items() if key != "on_wait"})


_SHARED: dict[str, Monitor] = {}
_SHARED_LOCK = threading.Lock()


def shared_monitor(**options: Unpack[Options]) -> Monitor:
    """The monitor of this process with these options; opened when it is first asked for.

    Args:
        options: see `Options`.
    """
    key = f"{os.getpid()} {sorted(options.items(), key=lambda item: item[0])!r}"
    with _SHARED_LOCK:
        if key not in _SHARED:
            _SHARED[key] = Monitor(**options)
        return _SHARED[key]


def close_shared() -> None:
    """Close every shared monitor; at the end of the program it happens by itself."""
    with _SHARED_LOCK:
        while _SHARED:
            key, monitor = _SHARED.popitem()
            if key.startswith(f"{os.getpid()} "):
                monitor.close()


def _forget_after_fork() -> None:
    """A forked process has no sampling thread and opens meters of its own."""
    global _SHARED_LOCK  # noqa: PLW0603 - the inherited one may be held by a thread that is gone
    _SHARED_LOCK = threading.Lock()
    _SHARED.clear()


atexit.register(close_shared)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_after_fork)
