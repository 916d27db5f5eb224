"""Lines between runner and worker through files: whole, in order, and no wait for a lost folder."""

import errno

import pytest

from joulelab.execution import connections
from joulelab.execution.connections import Mailbox
from joulelab.execution.engine import last_line


@pytest.fixture
def pair(tmp_path):
    """A mailbox and its other side."""
    folder = tmp_path / "worker"
    folder.mkdir()
    return Mailbox(folder / "a", folder / "b"), Mailbox(folder / "b", folder / "a")


def test_lines_in_a_shared_folder_are_whole(pair, tmp_path):
    one, other = pair
    one.append({"n": 1})
    with (tmp_path / "worker" / "b").open("ab") as file:
        file.write(b'{"n": 2')  # half a line, as a network file system may show it
    assert other.look() == [{"n": 1}]
    with (tmp_path / "worker" / "b").open("ab") as file:
        file.write(b"}\n")
    assert other.look() == [{"n": 2}]


def test_what_cannot_be_written_now_is_written_at_a_later_look(pair, tmp_path):
    one, other = pair
    one.post({"n": 1})
    (tmp_path / "worker").rename(tmp_path / "away")
    one.post({"n": 2})
    one.post({"n": 3})
    assert other.look() == []
    (tmp_path / "away").rename(tmp_path / "worker")
    one.look()
    assert other.look() == [{"n": 1}, {"n": 2}, {"n": 3}]


def test_half_a_line_of_a_try_that_failed_is_removed(pair, tmp_path):
    one, other = pair
    one.post({"n": 1})
    with (tmp_path / "worker" / "b").open("ab") as file:
        file.write(b'{"n"')
    one.post({"n": 2})
    assert other.look() == [{"n": 1}, {"n": 2}]


def test_a_folder_that_is_lost_for_long_is_an_error(pair, tmp_path, monkeypatch):
    one, _ = pair
    monkeypatch.setattr(connections, "RETRY_S", 0.0)
    monkeypatch.setattr(connections, "RETRY_EVERY_S", 0.01)
    (tmp_path / "worker").rename(tmp_path / "away")
    with pytest.raises(FileNotFoundError) as raised:
        one.append({"n": 1})
    assert raised.value.errno == errno.ENOENT


def test_the_last_line_of_a_log_is_not_that_of_the_scheduler(tmp_path):
    log = tmp_path / "log"
    assert last_line(log) == ""
    log.write_text(
        "Traceback\nModuleNotFoundError: No module named 'joulelab'\n\nsrun: error: n1\n"
    )
    assert last_line(log, ("srun",)) == "ModuleNotFoundError: No module named 'joulelab'"
