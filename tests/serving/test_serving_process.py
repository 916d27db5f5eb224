"""Commands to a process, and what comes back; the process is a thread here."""

from multiprocessing import Pipe
from threading import Thread

import pytest

from joulelab.errors import ServingError, UsageError
from joulelab.serving.process import Failure, serve_commands


def divide(by):
    return 12 / by


def refuse():
    raise UsageError("twelve cannot be refused", "ask for eleven")


def give_up():
    raise ServingError("no more")


@pytest.fixture
def ask():
    ours, theirs = Pipe()
    commands = {"divide": divide, "refuse": refuse, "give up": give_up}
    thread = Thread(target=serve_commands, args=(theirs, commands))
    thread.start()

    def ask(name, *arguments):
        ours.send((name, arguments))
        return ours.recv()

    yield ask
    ours.close()
    thread.join()
    theirs.close()


def test_results_and_errors_come_back_one_after_the_other(ask):
    assert ask("divide", 4) == 3
    assert ask("refuse") == Failure("twelve cannot be refused", "ask for eleven", usage=True)
    assert ask("give up") == Failure("no more")
    assert ask("divide", 6) == 2


def test_what_nobody_foresaw_is_told_with_its_place(ask):
    failure = ask("divide", 0)
    assert failure.unexpected
    line = divide.__code__.co_firstlineno + 1
    assert failure.message == f"ZeroDivisionError: division by zero ({__file__}:{line})"
