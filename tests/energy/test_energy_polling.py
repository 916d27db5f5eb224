"""Meters that ask in a thread of their own."""

import os
import threading
import time
import types
import warnings

import pytest
from fake_meter import channel
from fake_plug import eventually

from joulelab.energy import polling
from joulelab.energy.conformance import check_meter
from joulelab.energy.meter import Sample
from joulelab.energy.polling import PollingMeter, deadlines
from joulelab.energy.sample_buffer import SampleBuffer
from joulelab.errors import MeterError


class Slow(PollingMeter):
    """Its answers are those of a function, and may take as long as the function does."""

    name = "slow"

    def __init__(self, answer, poll_s=0.02, max_age_s=None, first=()):
        super().__init__(poll_s, max_age_s)
        self.channels_ = (channel("wall", kind="power"),)
        self.answer = answer
        self.asked = 0
        self.wakeable = None
        self.start_polling(first)

    @property
    def channels(self):
        return self.channels_

    def ask(self):
        self.asked += 1
        return [Sample(self.answer())]

    def interrupt(self):
        if self.wakeable is not None:
            self.wakeable.set()


@pytest.fixture
def opened():
    """Opens meters and closes them after the test."""
    made = []

    def open_(*arguments, **settings):
        made.append(Slow(*arguments, **settings))
        return made[-1]

    yield open_
    for meter in made:
        meter.close()


def value(meter):
    (sample,) = meter.sample()
    return sample.value


def reason(meter):
    (sample,) = meter.sample()
    return sample.reason if sample.value is None else ""


def test_it_keeps_the_contract_of_a_meter():
    check_meter(lambda: Slow(lambda: 5.0))


def test_the_last_answer_is_given_while_the_next_is_awaited(opened):
    gate, answers = threading.Event(), iter([1.0, 2.0])

    def answer():
        number = next(answers)
        if number == 2.0:
            gate.wait()
        return number

    meter = opened(answer, max_age_s=60.0)
    eventually(lambda: meter.asked == 2)
    assert value(meter) == 1.0, "this would never return if it waited for the answer"
    gate.set()
    eventually(lambda: value(meter) == 2.0)


def test_before_the_first_answer_there_is_a_reason_and_no_value(opened):
    gate = threading.Event()
    meter = opened(gate.wait)
    assert (value(meter), reason(meter)) == (None, "no answer yet")
    gate.set()


def test_what_the_sensor_said_at_opening_is_given_at_once(opened):
    gate = threading.Event()
    meter = opened(gate.wait, max_age_s=60.0, first=[Sample(7.0)])
    assert value(meter) == 7.0
    gate.set()


def test_an_answer_that_is_too_old_is_not_given(opened):
    gate = threading.Event()
    meter = opened(gate.wait, max_age_s=0.05, first=[Sample(7.0)])
    eventually(lambda: value(meter) is None)
    assert reason(meter).startswith("no answer for ")
    gate.set()


def test_the_age_counts_from_the_question(opened):
    """The sensor may have looked at its value when it was asked, and not when it answered."""

    def answer():
        time.sleep(0.1)
        return 1.0

    meter = opened(answer, max_age_s=0.05)
    eventually(lambda: meter.asked >= 3)
    assert value(meter) is None


def test_a_failure_is_the_reason_and_the_sensor_is_asked_again(opened):
    fails = [False]

    def answer():
        if fails[0]:
            raise MeterError("the cable is out", "put it in")
        return 3.0

    meter = opened(answer)
    eventually(lambda: value(meter) == 3.0)
    fails[0] = True
    eventually(lambda: reason(meter) == "the cable is out")
    fails[0] = False
    eventually(lambda: value(meter) == 3.0)


def test_one_failure_leaves_no_hole(opened):
    fails = [False]

    def answer():
        if fails[0]:
            raise MeterError("lost")
        return 3.0

    meter = opened(answer, max_age_s=60.0)
    eventually(lambda: value(meter) == 3.0)
    fails[0] = True
    before = meter.asked
    eventually(lambda: meter.asked > before + 2)
    assert value(meter) == 3.0


def test_any_exception_is_a_reason_and_ends_nothing(opened):
    def answer():
        raise ZeroDivisionError("by zero")

    meter = opened(answer)
    eventually(lambda: meter.asked > 2)
    assert reason(meter) == "ZeroDivisionError: by zero"


def test_an_answer_of_the_wrong_length_is_refused(opened):
    meter = opened(lambda: 1.0)
    meter.ask = lambda: [Sample(1.0), Sample(2.0)]
    eventually(lambda: reason(meter) == "2 values for 1 channels")


def test_deadlines_do_not_drift_and_missed_ones_are_left_out(monkeypatch):
    """What is done at each takes a third of an interval, and at the fifth two and a half."""
    now_s, met = [100.0], []

    def wait(timeout_s):
        now_s[0] += timeout_s
        return len(met) == 12

    clock = types.SimpleNamespace(monotonic=lambda: now_s[0])
    monkeypatch.setattr(polling, "time", clock)

    def meet():
        for tick in deadlines(0.2, types.SimpleNamespace(wait=wait)):
            met.append((tick, now_s[0]))
            now_s[0] += 0.5 if len(met) == 5 else 0.06

    thread = threading.Thread(target=meet)  # it blocks signals in the thread that it is used in
    thread.start()
    thread.join()
    assert [tick for tick, _ in met] == [0, 1, 2, 3, 4, 7, 8, 9, 10, 11, 12, 13]
    assert [at_s for _, at_s in met] == pytest.approx([100 + 0.2 * tick for tick, _ in met])


def test_closing_interrupts_a_question_that_is_under_way(opened):
    gate = threading.Event()
    meter = opened(gate.wait)
    meter.wakeable = gate
    eventually(lambda: meter.asked)
    meter.close()
    assert reason(meter) == "closed"
    name = "joulelab-slow-poll"
    eventually(lambda: name not in [thread.name for thread in threading.enumerate()])


def test_closing_does_not_wait_for_a_question_that_cannot_be_interrupted(opened, monkeypatch):
    monkeypatch.setattr(polling, "CLOSE_S", 0.05)
    gate = threading.Event()
    meter = opened(gate.wait)
    eventually(lambda: meter.asked)
    meter.close()
    assert not gate.is_set(), "it came back though the question has no answer"
    assert reason(meter) == "closed"
    gate.set()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_process_gets_no_frozen_value(opened):
    meter = opened(lambda: 4.0, max_age_s=60.0)
    eventually(lambda: value(meter) == 4.0)
    reading, writing = os.pipe()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # newer Pythons warn of a fork beside threads
        child = os.fork()
    if child == 0:
        try:
            said = f"{value(meter)} {reason(meter)}"
            meter.close()
            os.write(writing, said.encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as answer:
        said = answer.read()
    assert os.waitpid(child, 0)[1] == 0
    assert said == "None it belongs to the parent process, from which this one was forked"
    assert value(meter) == 4.0, "the child's close does not end the parent's asking"
    before = meter.asked
    eventually(lambda: meter.asked > before)


def test_it_is_read_twice_as_often_as_it_asks(opened):
    """So that no answer falls between two samples of a recorder."""
    buffer = SampleBuffer(opened(lambda: 1.0, poll_s=0.5), interval_s=0.05)
    assert buffer.interval_s == pytest.approx(0.25)
