"""Commands to a process, and what comes back; the process is a thread here."""

from multiprocessing import Pipe
from threading import Thread

import pytest

from joulelab.errors import DatasetError, ServingError, UsageError
from joulelab.serving.process import Unforeseen, carry_out


class OfAPluginError(UsageError):
    """One that the session does not know."""


class Twelve:
    def divide(self, by):
        return 12 / by

    def refuse(self):
        raise OfAPluginError("twelve cannot be refused", "ask for eleven")

    def give_up(self):
        raise DatasetError("no more")


@pytest.fixture
def ask():
    ours, theirs = Pipe()
    thread = Thread(target=carry_out, args=(theirs, Twelve()))
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
    refused, gave_up = ask("refuse"), ask("give_up")
    assert type(refused) is UsageError
    assert refused.args == ("twelve cannot be refused", "ask for eleven")
    assert type(gave_up) is ServingError
    assert gave_up.args == ("no more", "")
    assert ask("divide", 6) == 2


def test_what_nobody_foresaw_is_told_with_its_place(ask):
    failure = ask("divide", 0)
    assert type(failure) is Unforeseen
    line = Twelve.divide.__code__.co_firstlineno + 1
    assert str(failure) == f"ZeroDivisionError: division by zero ({__file__}:{line})"
