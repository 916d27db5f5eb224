"""Studies on a real Ray cluster of three nodes on this machine; ``make test-cluster``."""

import json
import os
import sys
from itertools import pairwise

import pytest

from joulelab.errors import JoulelabError
from joulelab.study.listener import Listener
from joulelab.study.study import Study
from joulelab.study.study_file import check_spec

pytestmark = [
    pytest.mark.cluster,
    # Ray's own.
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::FutureWarning"),
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
ENERGY = {"meters": ["estimate"], "idle_s": 0, "cool_down_s": 0, "interval_s": 0.02}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """Three nodes with a meter each."""
    # Ray takes AMD's library, which other extras bring along, for a driver, and then fails.
    shim = tmp_path_factory.mktemp("shim")
    (shim / "amdsmi.py").write_text("raise ImportError('there is no driver here')\n")
    sys.modules.pop("amdsmi", None)
    sys.path.insert(0, str(shim))
    os.environ["PYTHONPATH"] = os.pathsep.join([str(shim), os.environ.get("PYTHONPATH", "")])
    pytest.importorskip("ray")
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "resources": {"head": 1}})
    made.meters = [made.add_node(num_cpus=2, resources={"meter": 1}) for _ in range(3)]
    yield made
    made.shutdown()
    sys.path.remove(str(shim))


def study(folder, text, **execution):
    (folder / "work.py").write_text(f"import os, sys, time\na = sys.argv[1]\n{text}\n")
    table = {
        "kind": "command",
        "repetitions": 2,
        "vary": {"a": [1, 2, 3]},
        "cwd": str(folder),
        "command": f"{sys.executable} -S work.py {{a}}",
    }
    asked = {"workers": 3} | execution
    return Study(
        check_spec({"name": "s", "energy": ENERGY, "execution": asked, "experiment": {"e": table}})
    )


class Hearing(Listener):
    """Keeps what it hears, and does something when a run begins."""

    def __init__(self, at=None):
        self.at, self.said = at, []

    def doing(self, what):
        self.said.append(what)

    def started(self, runs):
        if self.at:
            self.at, what = None, self.at
            what()


def test_each_worker_has_a_meter_of_its_own(cluster, tmp_path):
    text = f"begun = time.time(); time.sleep(0.2); open({str(tmp_path / 'times')!r}, 'a').write("
    text += "f'{begun} {time.time()}\\n')"
    results = study(tmp_path, text).run(tmp_path / "out", on=f"ray:{cluster.address}")
    assert set(results.to_frame()["state"]) == {"finished"}
    lines = (tmp_path / "times").read_text().splitlines()
    times = sorted(tuple(map(float, one.split())) for one in lines)
    # The nodes are one machine here, and share its lock.
    assert all(end <= begin for (_, end), (begin, _) in pairwise(times))
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert len(manifest["sessions"]) == 3


def test_a_node_that_dies_costs_no_run(cluster, tmp_path):
    def die():
        cluster.remove_node(cluster.meters.pop(), allow_graceful=False)

    listener = Hearing(die)
    text = "time.sleep(1)"
    results = study(tmp_path, text).run(tmp_path / "out", listener, on=f"ray:{cluster.address}")
    frame, ledger = results.to_frame(), results.ledger_frame()
    assert set(frame["state"]) == {"finished"}
    attempts = [one for runs in ledger["runs"] for one in json.loads(runs)]
    assert frame["attempts"].sum() == len(attempts)
    assert any("has ended" in one for one in listener.said), listener.said


def test_a_resource_that_no_node_has_is_said(cluster, tmp_path, monkeypatch):
    monkeypatch.setattr("joulelab.execution.pool.PATIENCE_S", 0.0)
    listener = Hearing()

    def doing(what):
        listener.said.append(what)
        raise KeyboardInterrupt

    listener.doing = doing
    asked = study(tmp_path, "", ray={"H200": 1})
    with pytest.raises(KeyboardInterrupt):
        asked.run(tmp_path / "out", listener, on=f"ray:{cluster.address}")
    assert "no node has free" in listener.said[0]
    assert "H200 1" in listener.said[0]


def test_an_address_without_a_cluster_is_said(cluster, tmp_path):
    with pytest.raises(JoulelabError, match=r"Ray cannot be reached at 127.0.0.1:1"):
        study(tmp_path, "").run(tmp_path / "out", on="ray:127.0.0.1:1")
