"""OpenTelemetry: ``hw.energy`` in J and ``hw.power`` in W, sent as OTLP over HTTP.

Names and attributes follow the semantic conventions for hardware. A socket and a platform are a
host, ``hw.host.energy``, and the devices in it are components, ``hw.energy``; within each of the
two, domains that another one contains are left out, so that sums count each device once.

Counters are cumulative. Headers, certificates and compression come from the usual variables,
``OTEL_EXPORTER_OTLP_HEADERS`` and so on; ``OTEL_SERVICE_NAME`` and ``OTEL_RESOURCE_ATTRIBUTES``
name what is measured.
"""

from __future__ import annotations

import logging
import os
import platform
import threading
from collections.abc import Iterable, Iterator
from typing import Any
from urllib.parse import urlsplit

import joulelab
from joulelab.energy.reading import family
from joulelab.errors import JoulelabError, UsageError
from joulelab.optional import require
from joulelab.sinks.sink import DomainSeen, Seen, Sink

TYPES = {
    "core": "cpu",
    "dram": "memory",
    "ecluster": "cpu",
    "gpusram": "gpu",
    "pcluster": "cpu",
    "uncore": "cpu",
}
"""``hw.type`` of the families of domains that are not called so themselves."""
HOSTS = ("psys", "wall")
ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"
PATH = "/v1/metrics"
TIMEOUT_S = 2.0
_LOGGER = "opentelemetry.exporter.otlp.proto.http.metric_exporter"


class OtlpSink(Sink):
    """An OpenTelemetry collector.

    Args:
        address: its URL or ``HOST:PORT``; default: ``OTEL_EXPORTER_OTLP_ENDPOINT``, else
            http://localhost:4318.

    Raises:
        MissingDependencyError: opentelemetry is not installed.
        UsageError: the address is not one of HTTP.
    """

    every_s = 10.0
    live = True
    kept = 1

    def __init__(self, address: str = "") -> None:
        self._endpoint = endpoint(address)
        told = os.environ.get("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT") or os.environ.get(ENDPOINT)
        self.target = self._endpoint or told or "http://localhost:4318"
        self.name = f"otlp {self.target}"
        require("opentelemetry", user=self.name)
        self._metrics: _Metrics | None = None

    def open(self, label: str) -> None:
        """Prepare to send; the collector is first asked when there is something to send."""
        self._metrics = _Metrics(self._endpoint, label)

    def put(self, seen: Seen) -> None:
        """Send all counters.

        Raises:
            JoulelabError: the collector does not answer, or refuses.
        """
        assert self._metrics is not None
        self._metrics.send(seen)

    def close(self) -> None:
        """End."""
        if self._metrics is not None:
            self._metrics.close()
            self._metrics = None


class _Metrics:
    """The instruments, and what sends them."""

    def __init__(self, to: str | None, label: str) -> None:
        from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
        from opentelemetry.metrics import Observation
        from opentelemetry.sdk.metrics import MeterProvider
        from opentelemetry.sdk.metrics.export import InMemoryMetricReader, MetricExportResult

        timed = any("TIMEOUT" in one for one in os.environ if one.startswith("OTEL_EXPORTER_OTLP"))
        self._exporter = OTLPMetricExporter(to, timeout=None if timed else TIMEOUT_S)
        self._success = MetricExportResult.SUCCESS
        self._observation = Observation
        self._reader = InMemoryMetricReader()
        self._provider = MeterProvider([self._reader], _resource(label), shutdown_on_exit=False)
        self._seen: Seen | None = None
        self._told = _Told()
        logging.getLogger(_LOGGER).addFilter(self._told)
        meter = self._provider.get_meter("joulelab", joulelab.__version__)
        for host, name in ((False, "hw"), (True, "hw.host")):
            meter.create_observable_counter(
                f"{name}.energy", [self._energies(host)], "J", "Energy consumed by the component."
            )
            meter.create_observable_gauge(
                f"{name}.power", [self._powers(host)], "W", "Mean power since the last value."
            )
        meter.create_observable_counter(
            "joulelab.co2e", [self._grams], "g", "CO2e of the energy that counts."
        )

    def send(self, seen: Seen) -> None:
        self._seen = seen
        self._told.thread = threading.get_ident()
        self._told.first = ""
        data = self._reader.get_metrics_data()
        if data is not None and self._exporter.export(data) is not self._success:
            raise JoulelabError(self._told.first or "the collector does not answer")

    def close(self) -> None:
        logging.getLogger(_LOGGER).removeFilter(self._told)
        self._provider.shutdown()
        self._exporter.shutdown()

    def _energies(self, host: bool) -> Any:  # noqa: ANN401 - a callback of the library
        def observe(_: Any) -> Iterator[Any]:  # noqa: ANN401
            seen = self._seen
            shown = {one.domain: one for one in _shown(seen.domains, host=host)} if seen else {}
            for one in seen.counters if seen else ():
                if one.domain in shown:
                    about = _attributes(one.domain, one.source, str(one.status))
                    yield self._observation(one.energy_j, about)

        return observe

    def _powers(self, host: bool) -> Any:  # noqa: ANN401
        def observe(_: Any) -> Iterator[Any]:  # noqa: ANN401
            for one in _shown(self._seen.domains, host=host) if self._seen else ():
                if one.power_w is not None:
                    about = _attributes(one.domain, one.source, str(one.status))
                    yield self._observation(one.power_w, about)

        return observe

    def _grams(self, _: Any) -> Iterator[Any]:  # noqa: ANN401
        if self._seen is not None and "co2e_g" in self._seen.values:
            yield self._observation(self._seen.values["co2e_g"])


class _Told(logging.Filter):
    """Keeps what the exporter logs in our thread, instead of it being printed."""

    thread = 0
    first = ""

    def filter(self, record: logging.LogRecord) -> bool:
        if record.thread != self.thread:
            return True
        self.first = self.first or record.getMessage().partition("\n")[0]
        return False


def _shown(domains: Iterable[DomainSeen], *, host: bool) -> list[DomainSeen]:
    """The hosts, or the components, without those that another one of them contains."""
    own = [one for one in domains if (family(one.domain) in HOSTS) == host]
    known = {one.domain for one in own if one.energy_j is not None}
    return [one for one in own if not known.intersection(one.within)]


def _attributes(domain: str, source: str, status: str) -> dict[str, str]:
    kind = family(domain)
    about = {} if kind in HOSTS else {"hw.type": TYPES.get(kind, kind)}
    return {"hw.id": domain, **about, "joulelab.source": source, "joulelab.status": status}


def _resource(label: str) -> Any:  # noqa: ANN401
    """What is measured, where; the user's variables come first."""
    from opentelemetry.sdk.resources import Resource

    own = {
        "service.name": "joulelab",
        "service.version": joulelab.__version__,
        "host.name": platform.node(),
        **({"joulelab.label": label} if label else {}),
    }
    asked = os.environ.get("OTEL_RESOURCE_ATTRIBUTES", "")
    named = "service.name=" in asked or os.environ.get("OTEL_SERVICE_NAME")
    given = {name for name in own if f"{name}=" in asked} | ({"service.name"} if named else set())
    return Resource.create({name: value for name, value in own.items() if name not in given})


def endpoint(address: str) -> str | None:
    """The URL to which metrics go; None where the user's variables name it.

    >>> endpoint("127.0.0.1:4318")
    'http://127.0.0.1:4318/v1/metrics'

    Raises:
        UsageError: it is not an address of HTTP.
    """
    if not address:
        return None
    url = address if "://" in address else f"http://{address}"
    parts = urlsplit(url)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise UsageError(f"{address!r} is not an address", "write otlp:http://HOST:4318")
    return url if parts.path.endswith(PATH) else url.rstrip("/") + PATH
