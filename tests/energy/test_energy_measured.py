"""Code that is measured does what it does without being measured."""

import asyncio
import contextlib
import functools
import operator
import pickle

import pytest
from fake_meter import FakeMeter, channel
from measured_programs import PROGRAMS, AsyncStep, Step

import joulelab
from joulelab.energy.meter import Detector, meters
from joulelab.energy.shared_meters import close_shared
from joulelab.errors import UsageError

measured = joulelab.measured(meters=["edges"], interval_s=60.0)
events = []


@meters.register("edges")
class Edges(Detector):
    """A counter that tells when it is read, which is at the edges of windows only."""

    automatic = False

    def detect(self):
        def joules():
            events.append("read")
            return 0.0

        return [FakeMeter((channel(), joules))], []


@pytest.fixture(autouse=True)
def fresh_meters():
    yield
    close_shared()
    events.clear()


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.__name__)
def test_a_program_shows_the_same_with_and_without_the_decorator(program):
    bare, with_it = [], []
    program(lambda function: function, bare.append)
    program(measured, with_it.append)
    assert with_it == bare


@measured
async def wait(n=1):
    events.append("begun")
    await asyncio.sleep(0)
    events.append("ended")
    return n


@measured
def work(n=1):
    events.append("begun")
    events.append("ended")
    return n


@measured
async def stream(n=1):
    events.append("begun")
    try:
        yield n
    finally:
        await asyncio.sleep(0)
        events.append("ended")


@measured
def count(n=1):
    events.append("begun")
    try:
        yield n
    finally:
        events.append("ended")


class Called:
    async def __call__(self, n=1):
        return await wait.__wrapped__(n)

    def count(self, n=1):
        yield from count.__wrapped__(n)

    @measured
    @classmethod
    async def wait(cls, n=1):
        return await wait.__wrapped__(n)

    @staticmethod
    @measured
    async def wait_too(n=1):
        return await wait.__wrapped__(n)

    @measured
    @staticmethod
    async def wait_three(n=1):
        return await wait.__wrapped__(n)


async def leave_early(items):
    async with contextlib.aclosing(items):
        async for _ in items:
            break


async def enter(manager):
    async with manager:
        pass


def drop(items):
    next(items)


@pytest.mark.parametrize(
    ("function", "use"),
    [
        (work, lambda _: None),
        (measured(functools.partial(work.__wrapped__, 1)), lambda _: None),
        (wait, asyncio.run),
        (measured(functools.partial(wait.__wrapped__, 1)), asyncio.run),
        (measured(Called()), asyncio.run),
        (measured(functools.partial(Called(), 1)), asyncio.run),
        (Called.wait, asyncio.run),
        (Called.wait_too, asyncio.run),
        (Called.wait_three, asyncio.run),
        (stream, lambda items: asyncio.run(leave_early(items))),
        (
            measured(functools.partial(stream.__wrapped__, 1)),
            lambda items: asyncio.run(enter(contextlib.asynccontextmanager(lambda: items)())),
        ),
        (count, list),
        (count, drop),
        (measured(functools.partial(Called().count, 1)), list),
    ],
)
def test_the_window_is_open_from_the_first_step_to_the_end_of_the_clean_up(function, use):
    before = len(function.measurements)
    result = function()
    use(result)
    del result
    assert events == ["read", "begun", "ended", "read"]
    assert len(function.measurements) == before + 1


def test_a_call_that_is_never_begun_is_not_measured():
    count().close()
    wait().close()
    with pytest.raises(TypeError):
        wait(1, 2)
    assert events == []


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_decorated_functions_and_objects_can_be_pickled(protocol):
    for function in (work, wait, count, stream):
        assert pickle.loads(pickle.dumps(function, protocol)) is function
    doubled = measured(functools.partial(operator.mul, 2))
    assert pickle.loads(pickle.dumps(doubled, protocol))(3) == 6
    step = measured(AsyncStep(3))
    again = pickle.loads(pickle.dumps(step, protocol))
    assert asyncio.run(again(1)) == 4
    assert len(again.measurements) == 1
    assert (step.size, len(step.measurements)) == (3, 0)


@pytest.mark.parametrize("thing", [Step, "epoch", 3, None.__class__])
def test_what_is_not_a_function_is_refused(thing):
    with pytest.raises(UsageError, match="cannot be measured") as caught:
        joulelab.measured(thing)
    assert "functions or methods" in caught.value.hint
