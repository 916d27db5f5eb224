"""What tests of commands share."""

import pytest


@pytest.fixture
def powercap(tmp_path, monkeypatch):
    """A processor with a counter that stands still; gives the folder of its one zone."""
    zone = tmp_path / "powercap" / "intel-rapl:0"
    zone.mkdir(parents=True)
    (zone / "name").write_text("package-0\n")
    (zone / "max_energy_range_uj").write_text("262143328850\n")
    (zone / "energy_uj").write_text("1000000\n")
    monkeypatch.setenv("JOULELAB_POWERCAP", str(zone.parent))
    return zone
