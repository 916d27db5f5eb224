"""What tests of commands share."""

import sys

import pytest
from tiny_study import tiny

from joulelab.cli import main


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


@pytest.fixture
def joulelab(monkeypatch, capsys):
    """Runs a command in this process: its exit code, standard output and standard error."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("NO_COLOR", "1")

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["joulelab", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        printed = capsys.readouterr()
        return ended.value.code, printed.out, printed.err

    return run


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """Both kinds of experiment, trained and measured: the folder of a study."""
    folder = tmp_path_factory.mktemp("finished") / "out"
    tiny().run(folder)
    return folder
