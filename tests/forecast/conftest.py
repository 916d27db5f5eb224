"""What tests of forecasts share."""

import sys

import pytest
from small_studies import layers

from joulelab.cli import main


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """Eight configurations, trained twice each."""
    return layers(tmp_path_factory.mktemp("trained") / "layers")


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
