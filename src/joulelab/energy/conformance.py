"""Checks for custom meters. They need no test framework.

    >>> from joulelab.energy.conformance import check_meter
    >>> check_meter(lambda: MyMeter("192.168.1.20"))

`check_meter` returns nothing if all is well, else raises an ``AssertionError`` with the problem.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence

from joulelab.energy.meter import Channel, Meter, Sample
from joulelab.energy.reading import Status


def check_meter(
    make: Callable[[], Meter], samples: int = 5, between: Callable[[], None] | None = None
) -> None:
    """Check that a meter fulfils the contract of `joulelab.energy.meter`.

    Args:
        make: opens the meter; called once. The meter is closed here.
        samples: how often the open meter is read.
        between: called between two samples, for instance to move a simulated sensor; default: a
            pause of 20 ms.

    Raises:
        AssertionError: a property does not hold; the message says which, and of which channel.
    """
    meter = make()
    try:
        channels = _checked_channels(meter)
        last: list[float | None] = [None] * len(channels)
        for count in range(samples):
            if count:
                (between or _pause)()
            taken = _sample(meter, channels, "an open meter")
            last = [_advanced(*each) for each in zip(channels, last, taken, strict=True)]
            _require(tuple(meter.channels) == channels, "channels changed while it was sampled")
    finally:
        meter.close()
    _check_closed(meter, channels)


def _checked_channels(meter: Meter) -> tuple[Channel, ...]:
    name = getattr(meter, "name", None)
    _require(isinstance(name, str) and bool(name), "a meter needs a name: name = 'my-meter'")
    channels = tuple(meter.channels)
    _require(
        bool(channels),
        "a meter needs at least one channel; return Missing where nothing can be read",
    )
    for channel in channels:
        _check_channel(channel)
    keys = [(channel.domain, channel.source) for channel in channels]
    _require(len(set(keys)) == len(keys), f"two channels have the same domain and source: {keys}")
    hidden = meter.hidden_from({})
    _require(
        not hidden.domains, f"hidden_from() hides {set(hidden.domains)} although nothing is set"
    )
    for key, value in meter.describe().items():
        told = isinstance(key, str) and isinstance(value, str)
        _require(told, f"describe() must map text to text, not {key!r} to {value!r}")
    return channels


def _check_channel(channel: Channel) -> None:
    where = _where(channel)
    _require(bool(channel.domain) and bool(channel.source), f"{where}: empty domain or source")
    _require(channel.kind in ("counter", "power"), f"{where}: kind {channel.kind!r} is unknown")
    _require(
        channel.status in (Status.MEASURED, Status.ESTIMATED),
        f"{where}: a channel is measured or estimated; return Missing for what cannot be read",
    )
    error = channel.relative_error
    _require(math.isfinite(error) and error >= 0, f"{where}: relative_error {error} is not a bound")
    tick_s = channel.tick_s
    _require(math.isfinite(tick_s) and tick_s >= 0, f"{where}: tick_s {tick_s} is not possible")
    for name, value in (("range_j", channel.range_j), ("limit_w", channel.limit_w)):
        fine = value is None or (math.isfinite(value) and value > 0)
        _require(fine, f"{where}: {name} {value} must be positive, or None where unknown")
    looks = channel.looks
    times_s = (looks.update_s, looks.averaging_s)
    _require(
        all(math.isfinite(one) and one >= 0 for one in times_s) and 0 < looks.seen <= 1,
        f"{where}: {looks} is not a sensor",
    )
    _require(isinstance(channel.within, tuple), f"{where}: within must be a tuple of domains")
    _require(channel.domain not in channel.within, f"{where}: a domain cannot contain itself")


def _sample(meter: Meter, channels: Sequence[Channel], state: str) -> Sequence[Sample]:
    try:
        taken = meter.sample()
    except Exception as error:
        raise AssertionError(
            f"sample() of {state} raised {error!r}; give Sample(None, reason) instead"
        ) from error
    _require(
        len(taken) == len(channels),
        f"sample() of {state} gave {len(taken)} samples for {len(channels)} channels",
    )
    for channel, sample in zip(channels, taken, strict=True):
        _check_sample(channel, sample)
    return taken


def _check_sample(channel: Channel, sample: Sample) -> None:
    where = _where(channel)
    if sample.value is None:
        _require(bool(sample.reason.strip()), f"{where}: a value of None needs a reason")
    else:
        fine = math.isfinite(sample.value) and sample.value >= 0
        _require(
            fine, f"{where}: {sample.value} must be finite and not negative; use None where unknown"
        )
    for key, value in sample.state.items():
        _require(math.isfinite(value), f"{where}: {key} of {value} is not finite; leave it out")
    utilisation = sample.state.get("utilisation", 0.0)
    _require(0 <= utilisation <= 1, f"{where}: utilisation {utilisation} is not between 0 and 1")


def _advanced(channel: Channel, last: float | None, sample: Sample) -> float | None:
    """The highest known value of a counter; the next one must not be lower."""
    if channel.kind != "counter" or sample.value is None:
        return last
    _require(
        last is None or sample.value >= last,
        f"{_where(channel)}: the counter ran backwards, from {last} to {sample.value} J",
    )
    return sample.value


def _check_closed(meter: Meter, channels: tuple[Channel, ...]) -> None:
    try:
        meter.close()
    except Exception as error:
        raise AssertionError(f"the second close() raised {error!r}; it must do nothing") from error
    _require(tuple(meter.channels) == channels, "channels changed when it was closed")
    for channel, sample in zip(channels, _sample(meter, channels, "a closed meter"), strict=True):
        _require(sample.value is None, f"{_where(channel)}: gave {sample.value} after close()")


def _where(channel: Channel) -> str:
    return f"channel {channel.domain} by {channel.source}"


def _pause() -> None:
    time.sleep(0.02)


def _require(condition: bool, message: str) -> None:
    """An assertion that also works under ``python -O``."""
    if not condition:
        raise AssertionError(message)
