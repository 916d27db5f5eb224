"""A meter whose every answer a test decides."""

from collections.abc import Callable

from joulelab.energy.meter import Channel, Meter, Sample
from joulelab.energy.reading import Status


def channel(domain="gpu:0", kind="counter", status=Status.MEASURED, **settings):
    settings = {"relative_error": 0.0, "tick_s": 0.0, "source": f"fake-{kind}", **settings}
    return Channel(domain=domain, kind=kind, status=status, **settings)


class FakeMeter(Meter):
    """Answers with the value of a function for each channel; ``None`` is an unreadable sample."""

    def __init__(self, *channels_and_values: tuple[Channel, Callable[[], float | None]]) -> None:
        self.name = "fake"
        self._channels = [channel for channel, _ in channels_and_values]
        self._values = [value for _, value in channels_and_values]
        self.closed = 0

    @property
    def channels(self):
        return self._channels

    def sample(self):
        values = [value() for value in self._values]
        return [Sample(v, "" if v is not None else "unplugged") for v in values]

    def close(self):
        self.closed += 1
