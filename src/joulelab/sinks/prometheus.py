"""A page that Prometheus reads: ``joulelab_energy_joules_total`` and what else is known.

Energies of domains that are a part of another one have a metric of their own, so that a sum over
``joulelab_energy_joules_total`` counts each device once. A domain whose sensor is lost keeps its
counters and loses its power.
"""

from __future__ import annotations

import errno
import platform
from collections.abc import Iterator
from typing import Any

import joulelab
from joulelab.errors import UsageError
from joulelab.sinks.sink import Seen, Sink

HOST, PORT = "127.0.0.1", 9400
LARGEST_PORT = 65_535
LABELS = ("domain", "source", "status")
FORECAST = {"energy_forecast_j": "mean", "energy_forecast_low_j": "low"}
FORECAST |= {"energy_forecast_high_j": "high"}


class PrometheusSink(Sink):
    """A page with energy counters, at ``http://HOST:PORT/metrics``.

    Args:
        address: ``"HOST:PORT"``, ``"PORT"`` on this machine alone, or empty for 127.0.0.1:9400.

    Raises:
        UsageError: the port is not a number.
    """

    live = True
    kept = 1

    def __init__(self, address: str = "") -> None:
        self.host, self.port = host_and_port(address)
        self.target = f"{self.host}:{self.port}"
        self.name = f"prometheus {self.target}"
        self._page = _Page()
        self._server: Any = None

    def open(self, label: str) -> None:
        """Open the port.

        Raises:
            UsageError: it is in use, or not of this machine.
        """
        from prometheus_client import CollectorRegistry, start_http_server

        self._page = _Page()
        registry = CollectorRegistry(auto_describe=False)
        registry.register(self._page)
        try:
            self._server, thread = start_http_server(self.port, self.host, registry)
        except OSError as error:
            raise _refused(self.target, error) from error
        thread.name = "joulelab-prometheus-page"
        self.port = self._server.server_port

    def put(self, seen: Seen) -> None:
        """Show it on the page."""
        self._page.seen = seen

    def close(self) -> None:
        """Close the port."""
        if self._server is not None:
            server, self._server = self._server, None
            server.shutdown()
            server.server_close()


class _Page:
    """Collects the metrics for each request."""

    seen: Seen | None = None

    def collect(self) -> Iterator[Any]:
        """Every metric of the latest value."""
        from prometheus_client.core import (
            CounterMetricFamily,
            GaugeMetricFamily,
            InfoMetricFamily,
        )

        about = {"version": joulelab.__version__, "host": platform.node()}
        seen = self.seen
        if seen is not None:
            about["label"] = seen.label
        yield InfoMetricFamily("joulelab", "What measures here.", about)
        if seen is None:
            return
        words = {
            True: ("joulelab_", "Energy since the start, gross.", "Power, mean of the last look."),
            False: (
                "joulelab_part_",
                "Energy of a part of a domain that is in joulelab_energy_joules.",
                "Power of a part.",
            ),
        }
        for counts, (prefix, energy, power) in words.items():
            joules = CounterMetricFamily(f"{prefix}energy_joules", energy, labels=LABELS)
            watts = GaugeMetricFamily(f"{prefix}power_watts", power, labels=LABELS)
            for one in seen.counters:
                if one.counts is counts:
                    joules.add_metric([one.domain, one.source, str(one.status)], one.energy_j)
            for now in seen.domains:
                if now.counts is counts and now.power_w is not None:
                    watts.add_metric([now.domain, now.source, str(now.status)], now.power_w)
            yield from (one for one in (joules, watts) if one.samples)
        if "co2e_g" in seen.values:
            grams = seen.values["co2e_g"]
            yield CounterMetricFamily("joulelab_co2e_grams", "CO2e since the start.", grams)
        forecast = GaugeMetricFamily(
            "joulelab_energy_forecast_joules", "Energy of the whole, 95 %.", labels=["bound"]
        )
        for name, bound in FORECAST.items():
            if name in seen.values:
                forecast.add_metric([bound], seen.values[name])
        if forecast.samples:
            yield forecast
        if seen.step is not None:
            yield CounterMetricFamily("joulelab_steps", "Steps that have ended.", seen.step)
        yield CounterMetricFamily("joulelab_seconds", "Time measured.", seen.duration_s)


def host_and_port(address: str) -> tuple[str, int]:
    """Host and port; this machine alone where no host is named.

    >>> host_and_port(""), host_and_port("9401"), host_and_port("[::1]:9400")
    (('127.0.0.1', 9400), ('127.0.0.1', 9401), ('::1', 9400))

    Raises:
        UsageError: the port is not one.
    """
    host, colon, port = address.rpartition(":")
    if address.endswith("]") or (address and not colon and not address.isdigit()):
        host, port = address, str(PORT)
    elif not port:
        port = str(PORT)
    if not port.isdecimal() or not 0 <= int(port) <= LARGEST_PORT:
        raise UsageError(f"{address!r} is not an address", f"write HOST:PORT: {HOST}:{PORT}")
    return host.strip("[]") or HOST, int(port)


def _refused(target: str, error: OSError) -> UsageError:
    if error.errno == errno.EADDRINUSE:
        return UsageError(f"{target} is in use", "give another port, or end what uses it")
    if error.errno == errno.EACCES:
        return UsageError(f"{target} is not allowed", f"give a port above 1023, such as {PORT}")
    return UsageError(
        f"{target} cannot be opened: {error.strerror or error}", "give an address of this machine"
    )
