"""The conformance suite accepts a right meter and names the fault of a wrong one."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest

from joulelab.energy.conformance import check_meter
from joulelab.energy.meter import Channel, Hidden, Meter, Sample
from joulelab.energy.reading import Status
from joulelab.energy.trace import Sensor

WALL = Channel("wall", "plug", "counter", Status.MEASURED, 0.01, 1.0)
POWER = replace(WALL, source="plug-power", kind="power")


class Plug(Meter):
    """A right meter; the wrong ones differ from it in one respect."""

    name = "plug"

    def __init__(self) -> None:
        self.energy_j = 0.0
        self.closed = 0
        self.wanted: tuple[Channel, ...] = (WALL, POWER)

    @property
    def channels(self) -> Sequence[Channel]:
        return self.wanted

    def sample(self) -> Sequence[Sample]:
        if self.closed:
            return [Sample(None, "closed")] * 2
        self.energy_j += 2.5
        return [Sample(self.energy_j), Sample(25.0, state={"utilisation": 1.0})]

    def close(self) -> None:
        self.closed += 1


def test_a_right_meter_passes_and_is_closed():
    plug = Plug()
    check_meter(lambda: plug, between=lambda: None)
    assert plug.closed == 2


def test_an_unreadable_channel_with_a_reason_passes():
    class Flaky(Plug):
        def sample(self):
            return [Sample(None, "no answer"), super().sample()[1]]

    check_meter(Flaky, between=lambda: None)


def channels(*wanted: Channel) -> Callable[[], Meter]:
    def make() -> Meter:
        plug = Plug()
        plug.wanted = wanted
        return plug

    return make


def sampling(take: Callable[[Plug], Sequence[Sample]]) -> Callable[[], Meter]:
    """A meter that is wrong only while it is open."""

    class Wrong(Plug):
        def sample(self):
            return super().sample() if self.closed else take(self)

    return Wrong


class Backwards(Plug):
    def sample(self):
        _, power = super().sample()
        return [Sample(None if self.closed else 1000 - self.energy_j, "closed"), power]


class BackwardsAfterAGap(Plug):
    def sample(self):
        counter, power = super().sample()
        value = {2.5: 10.0, 5.0: None, 7.5: 9.0}.get(self.energy_j, counter.value)
        return [Sample(value, "gap"), power]


class Shifting(Plug):
    def sample(self):
        self.wanted = (WALL, replace(POWER, remark=str(self.energy_j)))
        return super().sample()


class ClosesOnce(Plug):
    def close(self):
        super().close()
        if self.closed > 1:
            raise RuntimeError("already closed")


class GoesOn(Plug):
    def close(self):
        """Releases nothing."""


class RaisesAfterClose(Plug):
    def sample(self):
        if self.closed:
            raise OSError("bad file descriptor")
        return super().sample()


class Numbers(Plug):
    def describe(self):
        return {"firmware": 7}


class HidesAll(Plug):
    def hidden_from(self, environment):
        return Hidden(frozenset({"wall"}))


class Nameless(Plug):
    name = ""


def lost(plug: Plug) -> Sequence[Sample]:
    raise OSError("no such device")


@pytest.mark.parametrize(
    ("make", "fault"),
    [
        (Nameless, "needs a name"),
        (channels(), "at least one channel"),
        (channels(WALL, WALL), "same domain and source"),
        (channels(WALL, replace(POWER, status=Status.MISSING)), "measured or estimated"),
        (channels(WALL, replace(POWER, kind="joules")), "kind 'joules'"),
        (channels(WALL, replace(POWER, relative_error=-0.1)), "relative_error"),
        (channels(WALL, replace(POWER, tick_s=-0.1)), "tick_s"),
        (channels(WALL, replace(POWER, sensor=Sensor(seen=0.0))), "not a sensor"),
        (channels(WALL, replace(POWER, within=("wall",))), "contain itself"),
        (channels(WALL, replace(POWER, limit_w=0.0)), "limit_w 0.0 must be positive"),
        (channels(replace(WALL, range_j=math.inf), POWER), "range_j inf must be positive"),
        (HidesAll, "although nothing is set"),
        (channels(WALL), "2 samples for 1 channels"),
        (Numbers, "text to text"),
        (sampling(lost), "sample.. of an open meter raised"),
        (sampling(lambda plug: [Sample(math.nan), Sample(1.0)]), "finite"),
        (sampling(lambda plug: [Sample(1.0), Sample(-1.0)]), "not negative"),
        (sampling(lambda plug: [Sample(None), Sample(1.0)]), "needs a reason"),
        (
            sampling(lambda plug: [Sample(1.0), Sample(1.0, "", {"utilisation": 55})]),
            "between 0 and 1",
        ),
        (sampling(lambda plug: [Sample(1.0), Sample(1.0, "", {"clock_mhz": math.inf})]), "clock"),
        (Backwards, "ran backwards"),
        (BackwardsAfterAGap, "from 10.0 to 9.0"),
        (Shifting, "channels changed"),
        (ClosesOnce, r"second close\(\)"),
        (GoesOn, r"after close\(\)"),
        (RaisesAfterClose, "sample.. of a closed meter raised"),
    ],
)
def test_a_wrong_meter_is_told_its_fault(make, fault):
    with pytest.raises(AssertionError, match=fault):
        check_meter(make, between=lambda: None)
