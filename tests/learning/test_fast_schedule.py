"""Schedules: what they say, which are tried, and how they are remembered."""

import json
import logging
import os
import threading
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from fast_training import CPU, key_of, made_up_images, task_of, threads
from torch import nn
from torch.nn import functional

from joulelab.learning.fast import schedule as schedule_module
from joulelab.learning.fast import trial as trial_module
from joulelab.learning.fast.engine import FastEngine
from joulelab.learning.fast.schedule import (
    VARIABLE,
    Arrangement,
    Schedule,
    ScheduleFile,
    arithmetics,
    arrangements,
    circumstances,
)
from joulelab.learning.fast.stacking import stack_layers, stack_module

TOGETHER, IN_TURN = Arrangement.TOGETHER, Arrangement.IN_TURN
WORKERS, SHARES = Arrangement.WORKERS, Arrangement.SHARES
GPU = torch.device("cuda", 0)
IMAGES = made_up_images((1, 8, 8), train=50, test=20)


@pytest.mark.parametrize(
    ("arrangement", "largest", "members", "cores", "size", "workers"),
    [
        (TOGETHER, None, 24, 2, 24, 1),
        (TOGETHER, 10, 24, 2, 10, 1),
        (TOGETHER, 30, 24, 2, 24, 1),
        (TOGETHER, None, 1, 1, 1, 1),
        (IN_TURN, None, 24, 2, 1, 1),
        (WORKERS, None, 24, 2, 1, 2),
        (WORKERS, None, 24, 64, 1, 24),
        (WORKERS, None, 1, 2, 1, 1),
        (SHARES, None, 24, 2, 12, 2),
        (SHARES, None, 5, 2, 3, 2),
        (SHARES, None, 5, 4, 2, 3),
        (SHARES, None, 2, 4, 1, 2),
        (SHARES, 2, 24, 4, 2, 4),
        (SHARES, 5, 24, 2, 5, 2),
    ],
)
def test_members_of_a_stack_and_stacks_at_the_same_time(
    arrangement, largest, members, cores, size, workers
):
    schedule = Schedule(arrangement, largest_stack=largest)
    assert schedule.stack_size(members, cores) == size
    assert schedule.workers(members, cores) == workers


@pytest.mark.parametrize(
    ("arrangement", "members", "cores", "sizes"),
    [
        (TOGETHER, 24, 2, [24, 12, 6, 3, 2, 1]),
        (TOGETHER, 5, 1, [5, 3, 2, 1]),
        (SHARES, 24, 2, [12, 6, 3, 2, 1]),
        (IN_TURN, 24, 2, [1]),
        (WORKERS, 24, 2, [1]),
    ],
)
def test_stacks_are_halved_until_they_hold_one_member(arrangement, members, cores, sizes):
    schedule = Schedule(arrangement, onednn=True)
    seen = []
    while schedule is not None:
        assert schedule.arrangement is arrangement
        assert schedule.onednn
        seen.append(schedule.stack_size(members, cores))
        schedule = schedule.halved(members, cores)
    assert seen == sizes


@pytest.mark.parametrize(
    ("members", "cores", "device", "expected"),
    [
        (1, 1, CPU, {TOGETHER}),
        (1, 2, CPU, {TOGETHER}),
        (2, 1, CPU, {TOGETHER, IN_TURN}),
        (2, 2, CPU, {TOGETHER, IN_TURN, WORKERS}),  # shares would be workers
        (24, 1, CPU, {TOGETHER, IN_TURN}),
        (24, 2, CPU, {TOGETHER, IN_TURN, WORKERS, SHARES}),
        (24, 2, GPU, {TOGETHER, IN_TURN}),
        (1, 1, GPU, {TOGETHER}),
    ],
)
def test_arrangements_that_differ_are_offered_once(members, cores, device, expected):
    offered = arrangements(members, cores, device)
    assert set(offered) == expected
    assert len(offered) == len(expected)
    meanings = {
        (Schedule(one).stack_size(members, cores), Schedule(one).workers(members, cores))
        for one in offered
    }
    assert len(meanings) == len(offered)


@pytest.mark.parametrize("has_onednn", [True, False])
@pytest.mark.parametrize(
    ("network", "device", "precision", "onednn", "channels_last"),
    [
        ("SimpleCNN", CPU, "fp32", True, True),
        ("SimpleCNN", CPU, "bf16", False, True),
        ("SimpleCNN", GPU, "fp32", False, True),
        ("DensePolyNN", CPU, "fp32", True, False),
        ("DensePolyNN", CPU, "bf16", False, False),
        ("DensePolyNN", GPU, "tf32", False, False),
    ],
)
def test_arithmetics_are_those_that_the_layers_and_the_device_have(
    network, device, precision, onednn, channels_last, has_onednn, monkeypatch
):
    monkeypatch.setattr(schedule_module, "onednn_available", lambda: has_onednn)
    offered = arithmetics(stack_layers(network, IMAGES.shape, 10, {}), precision, device)
    expected = {
        (p, c)
        for p in ({False, True} if onednn and has_onednn else {False})
        for c in ({False, True} if channels_last else {False})
    }
    assert {(one.onednn, one.channels_last) for one in offered} == expected
    assert len(set(offered)) == len(offered)
    assert offered[0] == Schedule()


@pytest.mark.parametrize(
    ("precision", "device", "dtype", "own"),
    [
        ("fp32", CPU, torch.float32, True),
        ("bf16", CPU, torch.bfloat16, True),
        ("tf32", GPU, torch.float32, False),
        ("bf16", GPU, torch.bfloat16, False),
    ],
)
def test_own_kernels_are_for_channels_last_on_the_cpu(precision, device, dtype, own):
    plain = Schedule(onednn=True).arithmetic(precision, device)
    assert (plain.dtype, plain.onednn, plain.own_kernels) == (dtype, True, False)
    last = Schedule(channels_last=True).arithmetic(precision, device)
    assert (last.channels_last, last.onednn, last.own_kernels) == (True, False, own)


def test_a_schedule_says_what_it_is_in_words():
    assert str(Schedule()) == "together"
    full = Schedule(SHARES, onednn=True, channels_last=True, largest_stack=3)
    assert str(full) == "shares, oneDNN, channels last, at most 3 in a stack"


TASK = task_of("SimpleCNN", None, 3, batch_size=20)
KEPT = Schedule(IN_TURN, onednn=False, channels_last=True, largest_stack=7)


def test_what_was_put_is_what_another_file_object_gets(tmp_path):
    file = ScheduleFile(tmp_path / "deep" / "down" / "schedules.json")
    assert file.get("key", 3) is None
    file.put("key", 3, KEPT)
    file.put("key", 4, Schedule())
    again = ScheduleFile(file.path)
    assert again.get("key", 3) == KEPT
    assert again.get("key", 4) == Schedule()
    assert again.get("key", 5) is None
    assert again.get("other", 3) is None
    file.put("key", 3, Schedule(WORKERS))
    assert again.get("key", 3) == Schedule(WORKERS)
    assert again.get("key", 4) == Schedule()


def _spied(monkeypatch):
    """Counts the candidates that are timed."""
    timed = []
    real = trial_module.Trial._seconds

    def seconds(self, schedule, *others):
        timed.append(schedule)
        return real(self, schedule, *others)

    monkeypatch.setattr(trial_module.Trial, "_seconds", seconds)
    return timed


@pytest.fixture
def untimed(monkeypatch):
    """No candidate is trained; each is as fast as the others."""
    monkeypatch.setattr(trial_module.Trial, "_seconds", lambda *_: 0.1)


def test_a_trial_is_made_once_and_then_remembered(tmp_path, monkeypatch):
    timed = _spied(monkeypatch)
    path = tmp_path / "schedules.json"
    engine = FastEngine(schedules=ScheduleFile(path))
    assert engine.schedule(TASK, IMAGES, "cpu") is None
    assert engine.prepare(TASK, IMAGES, "cpu") is True
    assert {schedule.arrangement for schedule in timed} == {TOGETHER, IN_TURN}
    chosen = engine.schedule(TASK, IMAGES, "cpu")
    assert chosen in timed
    timed.clear()
    assert engine.prepare(TASK, IMAGES, "cpu") is False
    for other in (FastEngine(schedules=ScheduleFile(path)), engine):
        assert other.prepare(TASK, IMAGES, "cpu") is False
        assert other.schedule(TASK, IMAGES, "cpu") == chosen
        other.train(replace(TASK, max_steps=1), IMAGES, "cpu")
    assert not timed


def test_training_prepares_where_nobody_has(tmp_path, monkeypatch):
    timed = _spied(monkeypatch)
    engine = FastEngine(schedules=ScheduleFile(tmp_path / "schedules.json"))
    engine.train(replace(TASK, max_steps=1), IMAGES, "cpu")
    assert timed
    assert engine.prepare(TASK, IMAGES, "cpu") is False


@pytest.mark.usefixtures("untimed")
@pytest.mark.parametrize(
    "changes",
    [
        {"network": "DensePolyNN"},
        {"network_options": {"linear_layers": 2}},
        {"network_options": {"relu": False}},
        {"batch_size": 21},
        {"precision": "bf16"},
        {"members": TASK.members[:2]},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_other_circumstances_are_tried_anew(changes, tmp_path, monkeypatch):
    monkeypatch.setattr("joulelab.learning.fast.hardware.has_bf16", lambda: True)
    engine = FastEngine(schedules=ScheduleFile(tmp_path / "schedules.json"))
    engine.prepare(TASK, IMAGES, "cpu")
    other = replace(TASK, **changes)
    assert engine.schedule(other, IMAGES, "cpu") is None
    assert engine.prepare(other, IMAGES, "cpu") is True
    assert engine.prepare(other, IMAGES, "cpu") is False


@pytest.mark.usefixtures("untimed")
@pytest.mark.parametrize(
    "changes",
    [
        {"epochs": 9},
        {"max_steps": 2},
        {"protocol": "yarally2023"},
        {"members": TASK.members[::-1]},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_what_does_not_matter_is_not_tried_anew(changes, tmp_path):
    engine = FastEngine(schedules=ScheduleFile(tmp_path / "schedules.json"))
    engine.prepare(TASK, IMAGES, "cpu")
    assert engine.prepare(replace(TASK, **changes), IMAGES, "cpu") is False


def test_keys_tell_circumstances_apart(monkeypatch):
    def key(task=TASK, images=IMAGES):
        return key_of(task, images)

    other = made_up_images((1, 9, 8), train=50, test=20)
    widths = {
        "DensePolyNN": replace(TASK, network="DensePolyNN"),
        "DenseLinearNN": replace(TASK, network="DenseLinearNN"),
    }
    keys = [key(), key(images=other), key(widths["DensePolyNN"]), key(widths["DenseLinearNN"])]
    with threads(2):
        keys.append(key())
    monkeypatch.setattr(torch, "__version__", "0.0")
    keys.append(key())
    monkeypatch.setattr(schedule_module, "processor", lambda: "another")
    keys.append(key())
    assert len(set(keys)) == len(keys)


def test_a_key_has_nothing_that_differs_between_processes():
    """Functions have other addresses there."""

    class Own(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.pool = nn.Linear(4, 4), nn.AvgPool2d(1)

        def forward(self, images):
            rows = functional.gelu(self.pool(images).flatten(1))
            return torch.relu(self.first(rows)) + rows

    with torch.device("meta"):
        signature = stack_module(Own(), torch.empty(2, 1, 2, 2)).signature()
    assert all(word in signature for word in ("gelu", "relu", "add", "AvgPool2d", "(4, 4)"))
    assert "0x" not in signature


DAMAGED = {
    "empty": "",
    "cut short": '{"key 3": {"arrange',
    "not a table": "[1, 2]",
    "a number": "3",
    "not text": b"\xff\xfe\x00\x9c",
    "entry that is no table": '{"key 3": 5}',
    "entry without arrangement": '{"key 3": {"onednn": true}}',
    "unknown arrangement": '{"key 3": {"arrangement": "sideways"}}',
    "unknown field": '{"key 3": {"arrangement": "together", "speed": 9}}',
    "impossible stack": '{"key 3": {"arrangement": "together", "largest_stack": -1}}',
    "stack in words": '{"key 3": {"arrangement": "together", "largest_stack": "four"}}',
}


@pytest.mark.parametrize("damage", DAMAGED)
def test_a_damaged_file_is_as_good_as_none(damage, tmp_path):
    path = tmp_path / "schedules.json"
    content = DAMAGED[damage]
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    file = ScheduleFile(path)
    assert file.get("key", 3) is None
    file.put("key", 3, KEPT)
    assert file.get("key", 3) == KEPT


def test_sound_entries_of_a_partly_damaged_file_are_kept(tmp_path):
    path = tmp_path / "schedules.json"
    entries = {"bad 1": 5, "good 1": asdict(KEPT)}
    path.write_text(json.dumps(entries))
    ScheduleFile(path).put("new", 1, Schedule())
    assert ScheduleFile(path).get("good", 1) == KEPT
    assert ScheduleFile(path).get("bad", 1) is None


@pytest.mark.usefixtures("untimed")
@pytest.mark.parametrize("where", ["under a file", "a folder"])
def test_a_file_that_cannot_be_used_is_as_good_as_none(where, tmp_path, caplog):
    if where == "a folder":
        path = tmp_path / "folder"
        path.mkdir()
    else:
        (tmp_path / "file").write_text("")
        path = tmp_path / "file" / "schedules.json"
    engine = FastEngine(schedules=ScheduleFile(path))
    with caplog.at_level(logging.INFO, logger="joulelab"):
        assert engine.prepare(TASK, IMAGES, "cpu") is True
    assert "cannot be written" in caplog.text
    assert engine.prepare(TASK, IMAGES, "cpu") is False  # this engine knows
    assert ScheduleFile(path).get(key_of(TASK, IMAGES), 3) is None


def test_a_reader_never_sees_half_a_file(tmp_path, monkeypatch):
    """What is written goes to another file first, which then takes the place."""
    path = tmp_path / "schedules.json"
    file = ScheduleFile(path)
    file.put("old", 1, KEPT)
    seen = []
    real = Path.replace

    def replaced(self, target):
        seen.append(json.loads(path.read_text()))
        return real(self, target)

    monkeypatch.setattr(Path, "replace", replaced)
    file.put("new", 1, Schedule())
    assert [set(entries) for entries in seen] == [{"old 1"}]
    assert set(json.loads(path.read_text())) == {"old 1", "new 1"}


def test_two_that_write_at_the_same_time_lose_nothing(tmp_path):
    """Two openings of the lock file exclude each other, whether one process makes them or two."""
    path = tmp_path / "schedules.json"

    def put(name):
        for number in range(15):
            ScheduleFile(path).put(f"{name} {number}", 1, Schedule())

    other = threading.Thread(target=put, args=("other",))
    other.start()
    put("own")
    other.join()
    expected = {f"{name} {number} 1" for name in ("own", "other") for number in range(15)}
    assert set(json.loads(path.read_text())) == expected


@pytest.mark.usefixtures("untimed")
def test_the_variable_says_where_schedules_are_kept(tmp_path, monkeypatch):
    monkeypatch.setenv(VARIABLE, str(tmp_path / "own.json"))
    assert ScheduleFile.of_user().path == tmp_path / "own.json"
    FastEngine().prepare(TASK, IMAGES, "cpu")
    assert len(json.loads((tmp_path / "own.json").read_text())) == 1
    monkeypatch.setenv(VARIABLE, "~/mine.json")
    assert ScheduleFile.of_user().path == Path.home() / "mine.json"


@pytest.mark.usefixtures("untimed")
def test_an_empty_variable_remembers_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv(VARIABLE, "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert ScheduleFile.of_user().path is None
    engine = FastEngine()
    assert engine.prepare(TASK, IMAGES, "cpu") is True
    assert engine.prepare(TASK, IMAGES, "cpu") is False
    assert FastEngine().prepare(TASK, IMAGES, "cpu") is True
    assert not list(tmp_path.iterdir())


def test_without_the_variable_it_is_the_users_cache(tmp_path, monkeypatch):
    monkeypatch.delenv(VARIABLE)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert ScheduleFile.of_user().path == tmp_path / "joulelab" / "schedules.json"
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert ScheduleFile.of_user().path == Path.home() / ".cache" / "joulelab" / "schedules.json"


def test_tests_leave_the_users_schedules_alone():
    assert os.environ[VARIABLE]
    assert not Path(os.environ[VARIABLE]).is_relative_to(Path.home() / ".cache")


def test_the_fastest_candidate_is_chosen(monkeypatch, tmp_path):
    """Times as if in-turn took a third; the slower ones are timed too."""
    times = {TOGETHER: 0.3, IN_TURN: 0.1}
    monkeypatch.setattr(
        trial_module.Trial, "_seconds", lambda self, schedule, *_: times[schedule.arrangement]
    )
    engine = FastEngine(schedules=ScheduleFile(tmp_path / "one.json"))
    engine.prepare(TASK, IMAGES, "cpu")
    assert engine.schedule(TASK, IMAGES, "cpu").arrangement is IN_TURN
    times[IN_TURN] = 0.9
    engine = FastEngine(schedules=ScheduleFile(tmp_path / "two.json"))
    engine.prepare(TASK, IMAGES, "cpu")
    assert engine.schedule(TASK, IMAGES, "cpu").arrangement is TOGETHER


@pytest.mark.parametrize(
    "error", [torch.OutOfMemoryError("full"), RuntimeError("... can't allocate memory ...")]
)
def test_a_candidate_that_does_not_fit_is_passed_over(error, monkeypatch, tmp_path):
    def seconds(self, schedule, *_):
        if schedule.arrangement is TOGETHER and schedule.channels_last:
            raise error
        return {TOGETHER: 0.1, IN_TURN: 0.3}[schedule.arrangement]

    monkeypatch.setattr(trial_module.Trial, "_seconds", seconds)
    engine = FastEngine(schedules=ScheduleFile(tmp_path / "schedules.json"))
    engine.prepare(TASK, IMAGES, "cpu")
    chosen = engine.schedule(TASK, IMAGES, "cpu")
    assert (chosen.arrangement, chosen.channels_last) == (TOGETHER, False)


def test_another_error_of_a_candidate_is_no_reason_to_pass_it_over(monkeypatch):
    def seconds(self, *_):
        raise RuntimeError("broken")

    monkeypatch.setattr(trial_module.Trial, "_seconds", seconds)
    with pytest.raises(RuntimeError, match="broken"):
        FastEngine(schedules=ScheduleFile(None)).prepare(TASK, IMAGES, "cpu")


def test_a_trial_leaves_torch_as_it_was():
    before = torch.random.get_rng_state()
    task = replace(TASK, network="DensePolyNN", members=TASK.members[:2])
    with threads(2):
        FastEngine(schedules=ScheduleFile(None)).prepare(task, IMAGES, "cpu")
        assert torch.get_num_threads() == 2
    assert torch.equal(torch.random.get_rng_state(), before)


def test_circumstances_of_a_gpu_do_not_depend_on_the_hosts_threads(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "a GPU")
    network = stack_layers("SimpleCNN", IMAGES.shape, 10, {})
    one = circumstances(network, (1, 8, 8), 20, "fp32", GPU)
    with threads(2):
        assert circumstances(network, (1, 8, 8), 20, "fp32", GPU) == one
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "another GPU")
    assert circumstances(network, (1, 8, 8), 20, "fp32", GPU) != one
