"""What a session says of itself while it runs: now.json."""

import json
import os
from types import SimpleNamespace

import pytest

from joulelab.energy import recorder as recording
from joulelab.energy.measurement import Measurement
from joulelab.energy.meter import Channel
from joulelab.energy.reading import Reading, Status, total
from joulelab.study.executor import Heartbeat
from joulelab.study.listener import Listener
from joulelab.study.now import NOW, Now, announced, read_now

NOTHING = Measurement("", 0.0, 1.0, (), 2, 0.1)


class Heard(Listener):
    """Keeps what it hears."""

    def __init__(self):
        self.heard = []

    def doing(self, what):
        self.heard.append(what)

    def started(self, runs):
        self.heard.append(len(runs))


def searched(score):
    return SimpleNamespace(words=lambda sign: f"best {sign * score}", joules=7.0)


def test_waits_progress_and_searches_are_written_and_passed_on(tmp_path):
    heard = Heard()
    spec = SimpleNamespace(experiments=lambda: {"e": SimpleNamespace(sign=-1.0)})
    with announced(heard, tmp_path) as hears:
        assert read_now(tmp_path) == Now(os.getpid())
        hears.laid_out(spec, None, {})
        hears.doing("loading the data set digits")
        assert read_now(tmp_path).doing == "loading the data set digits"
        assert read_now(tmp_path).since > 0
        hears.started([SimpleNamespace(experiment="e")])
        hears.progress(Heartbeat(3, 25, NOTHING), total(()))
        assert (read_now(tmp_path).done, read_now(tmp_path).of) == (3, 25)
        assert read_now(tmp_path).doing == ""
        hears.searching(searched(0.5))
        hears.searching(searched(0.4))  # within the same second: not written
        assert (read_now(tmp_path).search, read_now(tmp_path).search_j) == ("best -0.5", 7.0)
        hears.waiting("cooling down")
        assert read_now(tmp_path).doing == "cooling down"
    assert heard.heard == ["loading the data set digits", 1]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("text", ["", "{", "[]", '{"pid": "x"}', '{"pid": 1, "doing": [1]}', "\0"])
def test_anything_else_in_the_file_says_nothing(tmp_path, text):
    (tmp_path / NOW).write_text(text)
    assert read_now(tmp_path) is None


def test_a_link_is_not_followed(tmp_path):
    (tmp_path / "other").write_text(json.dumps({"pid": 1, "doing": "secret"}))
    (tmp_path / NOW).symlink_to(tmp_path / "other")
    assert read_now(tmp_path) is None
    with announced(Listener(), tmp_path) as hears:
        hears.doing("this")
        assert read_now(tmp_path).doing == "this"
    assert "secret" in (tmp_path / "other").read_text()


def test_a_folder_that_cannot_be_written_stops_nothing(tmp_path):
    heard = Heard()
    with announced(heard, tmp_path / "missing") as hears:
        hears.doing("this")
    assert heard.heard == ["this"]


def test_a_wait_for_idle_power_is_told_once(monkeypatch):
    monkeypatch.setattr(recording, "IDLE_LOOK_S", 0.0)
    powers = iter([50.0, 40.0, 10.5])

    def looked(_):
        watts = next(powers)
        reading = Reading("cpu:0", "rapl", Status.MEASURED, watts, 0.0, None, 1.0)
        return SimpleNamespace(close=lambda: SimpleNamespace(readings=[reading]))

    channel = Channel("cpu:0", "rapl", "counter", Status.MEASURED, 0.01, tick_s=0.001)
    recorder = SimpleNamespace(channels=[channel], idle_w={"cpu:0": 10.0}, open=looked)
    told = []
    assert recording.wait_until_idle(
        recorder, "cpu", limit_s=60, on_wait=lambda: told.append("waiting")
    )
    assert told == ["waiting"]
