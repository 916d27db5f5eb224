"""What tests of commands share."""

import pytest
from powercap_tree import Tree
from tiny_study import tiny


@pytest.fixture
def still_powercap(tmp_path, monkeypatch):
    """A processor whose counter stands at 0, as in a virtual machine: the folder of its zone."""
    tree = Tree(tmp_path / "powercap")
    tree.add("intel-rapl:0", "package-0")
    monkeypatch.setenv("JOULELAB_POWERCAP", str(tree.root))
    return tree


@pytest.fixture
def powercap(still_powercap):
    """A processor that draws 30 W; gives the folder of its one zone."""
    with still_powercap.flowing({"intel-rapl:0": 30.0}):
        yield still_powercap.root / "intel-rapl:0"


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """Both kinds of experiment, trained and measured: the folder of a study."""
    folder = tmp_path_factory.mktemp("finished") / "out"
    tiny().run(folder)
    return folder
