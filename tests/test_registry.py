"""Parts that installed packages bring."""

from joulelab import registry
from joulelab.registry import Registry


def test_metadata_of_installed_packages_is_read_once(monkeypatch):
    reads = []
    real = registry.entry_points
    monkeypatch.setattr(registry, "entry_points", lambda: reads.append(1) or real())
    registry._installed.cache_clear()
    parts = Registry("meter", "joulelab.meters", {})
    others = Registry("network", "joulelab.networks", {})
    for one in (parts, others, parts):
        one.names()
        one.parts()
    assert len(reads) == 1
