"""Smart plugs as meters: settings, polling and channels of all kinds of plugs.

A plug measures everything plugged into it: the domain ``wall``, which contains all others. It
reports power, and energy since its manufacture or last reset. A `PollingMeter` reads both about
once a second.

An edge of a window is uncertain by the age of a value: the plug updates it every second (Shelly's
firmware; `Energy200ms` and `XnrgCall(FUNC_ENERGY_EVERY_SECOND)` of Tasmota's), and an answer is
used for two polling intervals. With one request a second that makes a tick of 3 s.

Settings come from TOML, from ``shelly:HOST?setting=value`` or from Python, so a password of digits
may be a number. The password never appears in messages or reprs.
"""

from __future__ import annotations

import math
import os
import re
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import ClassVar

from joulelab.energy.counter import SOCKET_LIMIT_W, Counter
from joulelab.energy.meter import Channel, Detector, Meter, Missing, Sample
from joulelab.energy.meters.plug_http import Address, PlugHttpClient
from joulelab.energy.meters.settings import checked_number, is_domain
from joulelab.energy.polling import PollingMeter
from joulelab.energy.reading import Status
from joulelab.errors import MeterError, SettingsError

UPDATE_S = 1.0
IMPOSSIBLE_W = 1e6
"""Above what any wall socket delivers."""
TIMEOUT_S = 2.0
POLL_S = 1.0
LONGEST_S = 60.0
_PRINTABLE = re.compile(r"[\w.:/\[\]-]*")


@dataclass(frozen=True)
class PlugAnswer:
    """The readings of a plug at one time.

    Attributes:
        power_w: current power.
        asked_s: time of the request on the monotonic clock.
        energy_j: energy counted so far, or ``None`` if it has no counter.
        step_j: the smallest step of the counter.
        state: ``voltage_v``, ``current_a``, ``temperature_c``, if available.
    """

    power_w: float
    asked_s: float
    energy_j: float | None = None
    step_j: float = 0.0
    state: Mapping[str, float] = field(default_factory=dict)


class Plug(ABC):
    """The protocol of one kind of plug.

    Args:
        http: asks the device, with its password.

    Attributes:
        kind: its name, such as ``shelly``; the channels' sources start with it.
        relative_error: bound of its error, unless the user set one.
        remark: origin of that bound.
        limit_w: highest possible power, for the guard of its counter.
    """

    kind: ClassVar[str]
    relative_error: ClassVar[float]
    remark: ClassVar[str]
    limit_w: float = SOCKET_LIMIT_W

    def __init__(self, http: PlugHttpClient) -> None:
        self.http = http

    @abstractmethod
    def ask(self) -> PlugAnswer:
        """The current readings.

        Raises:
            MeterError: it does not answer, or not like such a plug.
        """

    def about(self) -> Mapping[str, str]:
        """Model and firmware, if reported; raises `MeterError` like `ask`."""
        return {}

    def watts(self, value: object) -> float:
        """Its power as a number.

        Raises:
            MeterError: it is not a number, or not a possible power.
        """
        power_w = number(value)
        if power_w is None or power_w > IMPOSSIBLE_W:
            raise self.refused("power", value)
        if power_w < 0:
            raise MeterError(
                f"{self.http.address}: it says {power_w:g} W: power flows back through the plug",
                "measure the computer alone, without a solar panel or battery on the same plug",
            )
        return power_w

    def joules(self, value: object, unit_j: float) -> float:
        """Its counted energy in joules.

        Args:
            value: as received.
            unit_j: the plug's unit of energy in joules.

        Raises:
            MeterError: it is not a number, or negative.
        """
        energy = number(value)
        if energy is None or energy < 0:
            raise self.refused("energy", value)
        return energy * unit_j

    def refused(self, what: str, value: object) -> MeterError:
        """The error for an invalid value."""
        said = self.http.excerpt(str(value))
        return MeterError(
            f"{self.http.address}: it says {said} as its {what}",
            "check the plug's own web page and restart the plug",
        )


class PlugMeter(PollingMeter):
    """Power of one plug, and its energy if it has a counter.

    Args:
        plug: the plug.
        settings: the user's.
        first: its first answer.
        about: model and firmware.
    """

    def __init__(
        self, plug: Plug, settings: PlugDetector, first: PlugAnswer, about: Mapping[str, str]
    ) -> None:
        super().__init__(settings.poll_s)
        self.name = f"{plug.kind}:{plug.http.address}"
        self._plug = plug
        self._settings = settings
        self._about = dict(about)
        self._counter: Counter | None = None
        if first.energy_j is not None:
            self._counter = Counter(
                "the plug's counter", limit_w=plug.limit_w, tick_s=UPDATE_S, step_j=first.step_j
            )
        self._channels = [self._channel("power", 0.0)]
        if self._counter is not None:
            self._channels.append(self._channel("counter", first.step_j))
        self.start_polling(self._samples(first), first.asked_s)

    @property
    def channels(self) -> Sequence[Channel]:
        """Power, and a counter if the plug has one."""
        return self._channels

    def ask(self) -> Sequence[Sample]:
        """Poll the plug."""
        return self._samples(self._plug.ask())

    def interrupt(self) -> None:
        """Abort the request."""
        self._plug.http.interrupt()

    def describe(self) -> Mapping[str, str]:
        """Address, model, firmware and polling interval."""
        address = str(self._plug.http.address)
        return {"address": address, **self._about, "asked": f"every {self.poll_s:g} s"}

    def _samples(self, answer: PlugAnswer) -> Sequence[Sample]:
        power = Sample(answer.power_w, state=answer.state)
        if self._counter is None:
            return [power]
        if answer.energy_j is None:
            return [power, Sample(None, "the plug did not report its energy")]
        return [power, self._counter.take(answer.energy_j, answer.asked_s)]

    def _channel(self, kind: str, step_j: float) -> Channel:
        plug, given = self._plug, self._settings.relative_error
        return Channel(
            domain=self._settings.domain,
            source=f"{plug.kind}-{kind}",
            kind="counter" if kind == "counter" else "power",
            status=Status.MEASURED,
            relative_error=plug.relative_error if given is None else given,
            tick_s=UPDATE_S + self.max_age_s,
            remark=plug.remark if given is None else "the bound was given by the user",
            resolution_j=step_j,
        )


@dataclass
class PlugDetector(Detector):
    """Detects one plug at the user's address.

    Args:
        address: host or host:port.
        password: of the plug's user admin; default: ``JOULELAB_<KIND>_PASSWORD``.
        domain: what the plug measures: ``wall`` for the whole computer, else for instance
            ``wall:1``.
        timeout_s: timeout of a request in seconds, at most 60.
        poll_s: time between requests in seconds, at most 60.
        relative_error: bound of the plug's own error, from a comparison with a wattmeter.

    Attributes:
        kind: its name in the registry.

    Raises:
        SettingsError: one of them cannot be right.
    """

    automatic: ClassVar[bool] = False
    kind: ClassVar[str]

    address: str = ""
    password: str | float = field(default="", repr=False)
    domain: str = "wall"
    timeout_s: float = TIMEOUT_S
    poll_s: float = POLL_S
    relative_error: float | None = None

    def __post_init__(self) -> None:
        kind, error = self.kind, self.relative_error
        if not is_domain(self.domain):
            raise SettingsError(
                f"{kind}: domain = {self.domain!r} is not the name of a domain",
                "for instance wall or wall:1",
            )
        address = _address(kind, self.address)
        password = _text(self.password) or os.environ.get(f"JOULELAB_{kind.upper()}_PASSWORD", "")
        self.password = ""  # only the client knows it, and never shows it
        self.timeout_s = checked_number(f"{kind}: timeout_s", self.timeout_s, most=LONGEST_S)
        self.poll_s = checked_number(f"{kind}: poll_s", self.poll_s, most=LONGEST_S)
        if error is not None:
            self.relative_error = checked_number(f"{kind}: relative_error", error, most=1.0)
        self._http = PlugHttpClient(address, self.timeout_s, password) if address else None

    @abstractmethod
    def plug(self, http: PlugHttpClient) -> Plug:
        """The plug at the address of the settings.

        Args:
            http: asks the device.
        """

    def detect(self) -> tuple[Sequence[Meter], Sequence[Missing]]:
        """Poll the plug once; returns its meter, or why it cannot be read."""
        if self._http is None:
            remedy = (
                f"name it: {self.kind}:192.168.1.20, or address in the table [meter.{self.kind}] "
                "of the settings file"
            )
            return [], [Missing(self.domain, "the plug's address is missing", remedy)]
        plug = self.plug(self._http)
        try:
            first = plug.ask()
        except MeterError as error:
            return [], [Missing(self.domain, error.message, error.hint)]
        try:
            about = plug.about()
        except MeterError:
            about = {}  # it measures power, which is enough
        return [PlugMeter(plug, self, first, about)], []


def number(value: object) -> float | None:
    """A finite number from JSON, else ``None``."""
    if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
        return None
    try:
        real = float(value)
    except OverflowError:
        return None
    return real if math.isfinite(real) else None


def step(value: object) -> float:
    """The resolution given by the digits of a JSON number.

    Args:
        value: a whole number, or a Decimal with all its digits: 0.001 for ``Decimal("6.530")``.
    """
    exponent = value.as_tuple().exponent if isinstance(value, Decimal) else 0
    return 10.0 ** min(exponent, 0) if isinstance(exponent, int) else 1.0


def known(**values: object) -> dict[str, float]:
    """The values that are finite numbers."""
    numbers = {name: number(value) for name, value in values.items()}
    return {name: value for name, value in numbers.items() if value is not None}


def _address(kind: str, value: object) -> Address | None:
    text = _text(value).strip()
    if not text:
        return None
    address = Address.parse(text)
    if address is None:
        # Do not show a user and password before the host, or a query after it.
        shown = f" {text!r}" if _PRINTABLE.fullmatch(text) else ""
        raise SettingsError(
            f"{kind}: the address{shown} is not valid",
            "write host or host:port, IPv6 as [fe80::1]; http only; a password is a separate "
            "setting",
        )
    return address


def _text(value: object) -> str:
    """The user's text, before TOML or a query parsed it as a number or boolean."""
    return str(value).lower() if isinstance(value, bool) else str(value)
