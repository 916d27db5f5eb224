"""Counters of joules on a page for Prometheus: the energy of another machine, or of this one.

::

    prometheus:http://gpu-box:9400/metrics                  a known exporter (`prometheus_pages`)
    prometheus:gpu-box:9100?metric=node_rapl_package_joules_total{index="0"}     any other counter

The page is read once a second, and at both edges of a window::

    page      asked .. answered       asked .. answered      asked .. answered
    window                       [    at once, at its edge ...

What it says is as old as the exporter lets it grow, ``update_s``. An edge is uncertain by that
time, and by the time of one reading, at most a quarter of a second. A page that takes longer is not
read at edges, since other meters would wait for it: then the last answer counts, and the edge is
uncertain by its age. Ask the exporter for short times where it takes them (``dcgm-exporter
--collect-interval 1000``), and say so with ``update_s=1``.

Domains of another machine have its name, ``gpu-box/gpu:0``. Of this one they have none, and so they
are compared with those of its own meters, not added.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address
from typing import ClassVar

from joulelab import formats
from joulelab.energy import nvidia_cards
from joulelab.energy.counter import PACKAGE_LIMIT_W, Counter
from joulelab.energy.meter import Channel, Detector, Meter, Missing, Sample
from joulelab.energy.meters import estimate, rapl
from joulelab.energy.meters.plug_http import Address, PlugHttpClient
from joulelab.energy.meters.prometheus_pages import (
    EXPORTERS,
    Device,
    Exporter,
    Selected,
    devices_of,
    is_page,
    names_of,
    parse_rows,
)
from joulelab.energy.meters.settings import checked_number, is_domain
from joulelab.energy.polling import PollingMeter
from joulelab.energy.reading import Status, family
from joulelab.errors import MeterError, SettingsError

PATH = "/metrics"
LONGEST_PAGE = 16 << 20
POLL_S, TIMEOUT_S, LONGEST_S = 1.0, 2.0, 600.0
AGE = 1.25
"""An answer is used until it is this many readings old."""
SLOW_S = 0.25
"""A page that takes longer is not read at edges."""
MACHINE_LIMIT_W = 20_000.0
"""Above the power of any server."""
UNKNOWN_UPDATE_S = 5.0
ERRORS = {"gpu": nvidia_cards.RELATIVE_ERROR, "dram": rapl.DRAM_RELATIVE_ERROR}
"""Bounds of the sensors that the exporters read; of the others that of RAPL."""
_URL = re.compile(r"(?:http(s?)://)?([^/?#]+)(/[^\s?#]*(?:\?[^\s#]*)?)?")
_OWN = "any exporter's page: prometheus:http://HOST:9400/metrics"
REMARK = "the bound is that of such sensors: the exporter states none"


class PageReader:
    """Reads one page.

    Args:
        http: asks the machine.
        path: of the page.
    """

    def __init__(self, http: PlugHttpClient, path: str) -> None:
        self.http = http
        self.path = path

    @property
    def url(self) -> str:
        """The address of the page."""
        return f"{self.http.address.url}{self.path}"

    def text(self) -> str:
        """The page.

        Raises:
            MeterError: there is no page, or it is something else.
        """
        answer = self.http.get(self.path, self.http.deadline_s())
        self.http.check_success(answer)
        return answer.text

    def checked(self) -> str:
        """The page, if it is one for Prometheus."""
        text = self.text()
        if not is_page(text):
            raise MeterError(
                f"{self.url}: it is not a page for Prometheus: {self.http.excerpt(text)}",
                "give the address that Prometheus reads; it often ends in /metrics",
            )
        return text


class PrometheusMeter(PollingMeter):
    """The counters of one exporter on a page.

    Args:
        page: the page.
        exporter: whose counters to read.
        devices: at the first reading, by what identifies them; with their joules.
        settings: of the user.
        asked_s: time of that reading on the monotonic clock.
    """

    def __init__(
        self,
        page: PageReader,
        exporter: Exporter,
        devices: Mapping[str, tuple[Device, float]],
        settings: PrometheusDetector,
        asked_s: float,
    ) -> None:
        super().__init__(settings.poll_s, AGE * settings.poll_s)
        self.name = f"prometheus:{page.http.address}"
        self._page, self._exporter = page, exporter
        self._quick = time.monotonic() - asked_s <= SLOW_S
        self._at_edge = False
        self._reading = threading.Lock()
        self._update_s = settings.update_s or exporter.update_s
        self._keys = list(devices)
        self._devices = [device for device, _ in devices.values()]
        self._channels = [self._channel(device, settings) for device in self._devices]
        self._counters = [
            Counter(
                f"the counter of {channel.domain}",
                limit_w=MACHINE_LIMIT_W if family(channel.domain) in WHOLE else PACKAGE_LIMIT_W,
                tick_s=channel.tick_s,
            )
            for channel in self._channels
        ]
        first = [
            counter.take(value_j, asked_s)
            for counter, (_, value_j) in zip(self._counters, devices.values(), strict=True)
        ]
        self.start_polling(first, asked_s)

    @property
    def channels(self) -> Sequence[Channel]:
        """A counter for each device on the page."""
        return self._channels

    def ask(self) -> Sequence[Sample]:
        """Read the page."""
        with self._reading:
            asked_s = time.monotonic()
            text = self._page.text()
            try:
                found = devices_of(self._exporter, parse_rows(text, self._exporter.metrics))
            except ValueError as error:
                raise MeterError(f"{self._page.url}: {error}") from None
            return [self._sample(number, found, asked_s) for number in range(len(self._keys))]

    def approach_edge(self) -> None:
        """Read the page anew, if that takes no time to speak of."""
        if self._quick and self._thread is not None:
            self.poll_now()
            self._at_edge = True

    def sample(self) -> Sequence[Sample]:
        """The last answer if none has failed since; at an edge, only one just asked for."""
        at_edge, self._at_edge = self._at_edge, False
        reason = self.failure
        if at_edge and (late := self.older_than(SLOW_S)):
            reason = f"at an edge of the window: {late}"
        return [Sample(None, reason) for _ in self._channels] if reason else super().sample()

    def interrupt(self) -> None:
        """Abort the request."""
        self._page.http.interrupt()

    def describe(self) -> Mapping[str, str]:
        """Address, exporter, and how often it is read."""
        return {
            "address": self._page.url,
            "exporter": self._exporter.name,
            "asked": f"every {self.poll_s:g} s, and at the edges of windows",
            "new values": f"every {self._update_s:g} s",
        }

    def _sample(
        self, number: int, found: Mapping[str, tuple[Device, float]], asked_s: float
    ) -> Sample:
        if self._keys[number] not in found:
            return Sample(None, "the page no longer has this counter")
        device, value_j = found[self._keys[number]]
        if device.status is not Status.MEASURED and self._devices[number] != device:
            return Sample(None, f"the page now calls it {device.status}")
        return self._counters[number].take(value_j, asked_s)

    def _channel(self, device: Device, settings: PrometheusDetector) -> Channel:
        node = f"{settings.node}/" if settings.node else ""
        return Channel(
            domain=f"{node}{device.domain}",
            source=f"{self._exporter.name}-counter",
            kind="counter",
            status=device.status,
            relative_error=settings.relative_error or _error(device),
            tick_s=self._update_s + (SLOW_S if self._quick else self.max_age_s),
            within=tuple(f"{node}{outer}" for outer in device.within),
            remark=REMARK if settings.relative_error is None else "the bound was given by the user",
        )


WHOLE = {"wall", "psys", "machine"}


@dataclass
class PrometheusDetector(Detector):
    """Detects counters of joules on a page.

    Args:
        address: URL of the page; ``/metrics`` if it names no path.
        metric: counter to read, where the exporter is unknown: ``NAME`` or ``NAME{label="value"}``.
        domain: what that counter covers: ``wall`` for a whole machine, ``gpu:0`` ...
        node: name of the machine, put before its domains; default: the host of the address, and
            none for this machine.
        update_s: time between two values of the exporter in seconds, if not as it is shipped.
        poll_s: time between two readings in seconds, at most 60.
        timeout_s: timeout of a reading in seconds, at most 60.
        relative_error: bound of the error of its sensors.

    Raises:
        SettingsError: one of them cannot be right.
    """

    automatic: ClassVar[bool] = False

    address: str = ""
    metric: str = ""
    domain: str = "machine"
    node: str | None = None
    update_s: float | None = None
    poll_s: float = POLL_S
    timeout_s: float = TIMEOUT_S
    relative_error: float | None = None

    def __post_init__(self) -> None:
        self.poll_s = checked_number("prometheus: poll_s", self.poll_s, most=60.0)
        self.timeout_s = checked_number("prometheus: timeout_s", self.timeout_s, most=60.0)
        if self.update_s is not None:
            self.update_s = checked_number("prometheus: update_s", self.update_s, most=LONGEST_S)
        if self.relative_error is not None:
            name = "prometheus: relative_error"
            self.relative_error = checked_number(name, self.relative_error, most=1.0)
        if not is_domain(self.domain):
            raise SettingsError(
                f"prometheus: domain = {self.domain!r} is not the name of a domain", "such as wall"
            )
        self._page = self._reader() if str(self.address).strip() else None
        if self._page is not None and self.node is None:
            host = self._page.http.address.host
            self.node = "" if _is_this_machine(host) else re.sub(r"[^\w.-]+", "-", host)

    def detect(self) -> tuple[Sequence[Meter], Sequence[Missing]]:
        """Read the page once; returns its meters, or why it cannot be read."""
        if self._page is None:
            return [], [Missing("prometheus", "the address of the page is missing", _OWN)]
        asked_s = time.monotonic()
        try:
            text = self._page.checked()
            exporters = [self._named()] if self.metric else EXPORTERS
            found = [
                (exporter, devices)
                for exporter in exporters
                if (devices := devices_of(exporter, parse_rows(text, exporter.metrics)))
            ]
        except MeterError as error:
            return [], [Missing(self.domain, error.message, error.hint)]
        except ValueError as error:
            return [], [Missing(self.domain, f"{self._page.url}: {error}", self._choose())]
        if not found:
            return [], [Missing(self.domain, *self._nothing(names_of(text)))]
        return [
            PrometheusMeter(self._page, exporter, devices, self, asked_s)
            for exporter, devices in found
        ], []

    def _reader(self) -> PageReader:
        text = str(self.address).strip()
        match = _URL.fullmatch(text)
        address = Address.parse(match[2], tls=bool(match[1])) if match else None
        if address is None or match is None:
            secret = "@" in text
            raise SettingsError(
                f"prometheus: the address{'' if secret else f' {text!r}'} is not valid",
                "write http://HOST:PORT/metrics or https://..., without user and password",
            )
        http = PlugHttpClient(
            address,
            self.timeout_s,
            what="the exporter",
            accept="text/plain; version=0.0.4",
            longest=LONGEST_PAGE,
        )
        return PageReader(http, match[3] or PATH)

    def _named(self) -> Exporter:
        """The counter that the user has named.

        Raises:
            MeterError: it cannot be read so.
        """
        selected = Selected.parse(self.metric)
        if selected is None:
            raise MeterError(
                f"prometheus: metric = {self.metric!r} is not the name of a metric",
                'write NAME or NAME{label="value"}',
            )
        if selected.unit_j is None:
            raise MeterError(
                f"prometheus: the name {selected.name} says no unit of energy",
                "a counter of joules ends in _joules_total, _joules or _microjoules",
            )
        return Exporter(
            "prometheus",
            (selected.name,),
            selected.unit_j,
            UNKNOWN_UPDATE_S,
            lambda row, _before: Device(self.domain) if selected.has(row) else None,
            lambda row: str(sorted(row.labels.items())) if selected.has(row) else "",
        )

    def _nothing(self, names: Sequence[str]) -> tuple[str, str]:
        url = self._page.url if self._page else ""
        if self.metric:
            return f"{url}: it has no {self.metric}", self._choose()
        others = [one for one in names if one.endswith(("_joules_total", "_joules"))]
        if others:
            listed = formats.listing(others[:5])
            return f"{url}: no exporter that is known; it counts {listed}", self._choose()
        return f"{url}: it has no counter of joules", (
            "known are DCGM, Kepler, Scaphandre, Triton and joulelab; their counters may be off"
        )

    def _choose(self) -> str:
        return 'name one row: metric=NAME{label="value"}, and what it covers: domain=wall'


def _error(device: Device) -> float:
    """The bound of the error of a device's sensor, or of an estimate."""
    error = ERRORS.get(family(device.domain), rapl.RELATIVE_ERROR)
    return error if device.status is Status.MEASURED else max(error, estimate.RELATIVE_ERROR)


def named(url: str, metric: str = "") -> str:
    """The name of the meter for a page, as for ``--meter``.

    Args:
        url: of the page.
        metric: counter to read, where the exporter is unknown.
    """
    from urllib.parse import quote

    return f"prometheus:{url}" + (f"?metric={quote(metric, safe='')}" if metric else "")


def _is_this_machine(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False
