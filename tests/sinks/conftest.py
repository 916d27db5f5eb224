"""What tests of sinks share."""

import socket

import pytest
from powercap_tree import Tree

from joulelab.energy.measurement import Measurement
from joulelab.energy.reading import Reading, Status
from joulelab.energy.shared_meters import close_shared


@pytest.fixture
def processor(tmp_path, monkeypatch):
    """A processor that draws 30 W, 10 of them in its cores, and memory that draws 5 W."""
    tree = Tree(tmp_path / "powercap")
    tree.add("intel-rapl:0", "package-0")
    tree.add("intel-rapl:0:0", "core")
    tree.add("intel-rapl:0:1", "dram")
    monkeypatch.setenv("JOULELAB_POWERCAP", str(tree.root))
    drawn = {"intel-rapl:0": 30.0, "intel-rapl:0:0": 10.0, "intel-rapl:0:1": 5.0}
    with tree.flowing(drawn):
        yield
        close_shared()


@pytest.fixture
def quick(monkeypatch):
    """Looks and steps come as fast as they can, so that nothing has to wait for a second."""
    monkeypatch.setattr("joulelab.sinks.feed.TICK_S", 0.01)
    monkeypatch.setattr("joulelab.sinks.feed.LEAST_STEP_S", 0.0)
    monkeypatch.setattr("joulelab.sinks.feed.SHARE", 1e9)
    monkeypatch.setattr("joulelab.forecast.looking.CAPACITY_S", 1e9)
    for sink in ("files._FileSink", "prometheus.PrometheusSink", "otlp.OtlpSink"):
        monkeypatch.setattr(f"joulelab.sinks.{sink}.every_s", 0.0)


@pytest.fixture
def free_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


@pytest.fixture
def silent():
    """An address that accepts connections and never answers."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"127.0.0.1:{server.getsockname()[1]}"


@pytest.fixture
def measured():
    """Makes a measurement of some domains: (joules, status, source, within) each."""

    def make(duration_s, domains=None, **settings):
        readings = tuple(
            Reading(domain, source, Status(status), joules, 0.1, None, duration_s, within=within)
            for domain, (joules, status, source, within) in settings.items()
        )
        renamed = tuple(
            Reading(**{**vars(one), "domain": one.domain.replace("_", ":")}) for one in readings
        )
        return Measurement("training", 1e9, duration_s, renamed, 10, 0.1, domains=domains)

    return make
