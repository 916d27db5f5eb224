"""Implausible sensor readings: a counter that stands still, power of 0 W.

::

    joules    .  '  '  '  '  ,----------------   frozen: what follows is unknown
    joules    ------------------------------     all zero, as in a virtual machine: unknown
    joules    .  '  ,------.  '  '               stood still and caught up: all energy counted
    watts     ~~~~~~~~~_________~~~~~~~~~~       0 W for a while: not read there
    joules    .  '               '  '            gap long enough for two wraps

A device that is on draws power, so a true 0 is impossible. Implausible samples become unreadable
here, with the reason, before a window is evaluated: then another sensor of the domain counts, or
the covered part with a bound for the rest, or nothing. A counter that stood still without catching
up is unreadable for the rest of the window: the lost energy is unknown.

A counter may stand still for the longest of: ten ticks of its sensor, one second, the time for five
of its steps at the lowest plausible power, and three times its usual standstill. That power is half
the reading of another sensor, else `LEAST_W`. A window in which the counter did not move is never 0
J, however short: it is too short for this counter.

Parts that can be off while the machine runs (`MAY_BE_OFF`) may really have used nothing. That looks
the same as a counter that does not count, so they are missing too, but not flagged.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from joulelab.energy.counter import highest_possible_w
from joulelab.energy.meter import Channel
from joulelab.energy.reading import MAY_BE_OFF, Status, family, instrument_of
from joulelab.energy.sample_buffer import ChannelSamples, Floats

STILL_S = 1.0
STILL_TICKS = 10
STILL_STEPS = 5
LEAST_W = 0.1
"""Lowest power of a processor, memory or card that is on."""
OFTEN, LONGER = 4, 3
"""With this many moves, a counter stands still if it takes this many times longer than usual."""
CAUGHT_UP = 0.5
"""Share of the usual power from which on a counter's jump counts as catching up."""
AS_READ = 1.5
"""A standstill of fewer samples than this is normal."""
TOO_SHORT = "too short a time for this counter"
TWO = 2

Mask = NDArray[np.bool_]


def believed(channel_samples: Sequence[ChannelSamples]) -> tuple[list[ChannelSamples], list[str]]:
    """The samples of a window, with implausible ones made unreadable.

    Args:
        channel_samples: samples of every channel.

    Returns:
        The same with such samples unreadable; and flags, if another sensor of the instrument is
        used instead, or a wrap may have been missed.
    """
    kept, flags, counting = [], [], set()
    for samples in channel_samples:
        beside = [one for one in channel_samples if one.channel.domain == samples.channel.domain]
        sound = _sound(samples, beside) if len(samples.values) else samples
        if sound is samples and not np.isnan(samples.values).all():
            counting.add(_instrument(samples.channel))
        kept.append(_doubted(sound))
    for samples, sound in zip(channel_samples, kept, strict=True):
        where = f"{sound.channel.domain}: {sound.channel.source}"
        if sound.doubt:
            flags.append(f"{where}: {sound.doubt}")
        # If no sensor of the instrument is usable, its reading has the reason.
        replaced = sound.unreadable != samples.unreadable and _worth_a_flag(sound)
        if replaced and _instrument(sound.channel) in counting:
            flags.append(f"{where} {sound.unreadable}")
    return kept, flags


def _sound(samples: ChannelSamples, beside: Sequence[ChannelSamples]) -> ChannelSamples:
    channel = samples.channel
    # Computed values have no tick and may be 0, such as the processor time of a sleeping process.
    if channel.status is Status.ESTIMATED and not channel.tick_s:
        return samples
    if channel.kind == "power":
        return _without_zeros(samples)
    values = samples.values
    if len(values) < TWO or (values[0] != values[-1] and _length_s(samples) < STILL_S):
        return samples  # the usual case of a short window, without arrays
    good = np.flatnonzero(~np.isnan(values))
    if len(good) < TWO:
        return samples
    drawn_w = _drawn_w(beside)
    bad, still_s = _frozen(samples.times_s[good], values[good], channel, drawn_w)
    if not bad.any():
        return samples
    blind = np.zeros(len(values), bool)
    blind[good[bad]] = True
    return _unread(samples, blind, _why(channel, still_s, drawn_w, moved=not bad.all()))


def _without_zeros(samples: ChannelSamples) -> ChannelSamples:
    """Power without periods of 0 W longer than a sensor's update needs."""
    values, times_s = samples.values, samples.times_s
    if values.all():  # NaN is not zero
        return samples
    zero = values == 0
    if not (values > 0).any():
        return _unread(
            samples, zero, "reported 0 W throughout, although whatever is on draws power"
        )
    if _is_a_part(samples.channel):
        return samples
    least_s = max(STILL_S, STILL_TICKS * samples.channel.tick_s)
    runs = _runs(zero, times_s, least_s)
    if not runs:
        return samples
    bad = np.zeros(len(values), bool)
    for first, after, _ in runs:
        bad[first:after] = True
    longest_s = max(length_s for _, _, length_s in runs)
    return _unread(
        samples, bad, f"said 0 W for {longest_s:.1f} s, although whatever is on draws power"
    )


def _frozen(
    times_s: Floats, values_j: Floats, channel: Channel, drawn_w: float | None
) -> tuple[Mask, float]:
    """Which samples of a counter are invalid, and for how long it stood still.

    Args:
        times_s: (n,), of the readable samples.
        values_j: (n,).
        channel: whose.
        drawn_w: mean power by another sensor of the domain in watts, if any.
    """
    bad = np.zeros(len(values_j), bool)
    still = np.diff(values_j) == 0
    if still.all():
        bad[:] = True
        return bad, float(times_s[-1] - times_s[0])
    whole_s, whole_j = float(times_s[-1] - times_s[0]), float(values_j[-1] - values_j[0])
    longest_s = 0.0
    runs = _runs(still, times_s, _may_stand_s(channel, drawn_w))
    least_s = LONGER * _usual_s(times_s, still, channel) if runs else 0.0
    for first, last, still_s in runs:
        if still_s < least_s:
            continue
        if first == 0:
            bad[: last + 1] = True  # and the jump after it, which partly belongs to the standstill
            longest_s = still_s
            continue
        if last + 1 < len(values_j):
            jump_j = float(values_j[last + 1] - values_j[last])
            jump_s = float(times_s[last + 1] - times_s[first])
            rest_s = max(whole_s - jump_s, jump_s)
            usual_w = drawn_w if drawn_w is not None else (whole_j - jump_j) / rest_s
            if jump_j >= CAUGHT_UP * usual_w * jump_s:
                continue
        bad[first + 1 :] = True
        return bad, still_s
    return bad, longest_s


def _usual_s(times_s: Floats, still: Mask, channel: Channel) -> float:
    """How long a counter usually shows the same value.

    0 if it has not moved often enough; also 0 if it moved at nearly every sample, so that this is
    the reading interval, while the sensor's tick is known.
    """
    moved_s = times_s[1:][~still]
    if len(moved_s) < OFTEN:
        return 0.0
    usual_s = float(np.median(np.diff(moved_s)))
    as_read = usual_s < AS_READ * float(np.median(np.diff(times_s)))
    return 0.0 if channel.tick_s and as_read else usual_s


def _may_stand_s(channel: Channel, drawn_w: float | None) -> float:
    """How long a working counter may show the same value."""
    least_w = max(LEAST_W, (drawn_w or 0.0) / 2)
    step_s = STILL_STEPS * channel.resolution_j / least_w
    return max(STILL_S, STILL_TICKS * channel.tick_s, step_s)


def _why(channel: Channel, still_s: float, drawn_w: float | None, *, moved: bool) -> str:
    if not moved and still_s < _may_stand_s(channel, drawn_w):
        return f"has not moved in {still_s:.2g} s: {TOO_SHORT}"
    drawn = f" while {drawn_w:.3g} W were drawn" if drawn_w else ""
    off = family(channel.domain) in MAY_BE_OFF
    why = ": the part was off, or this counter does not cover it" if off else drawn
    return f"stood still for {still_s:.1f} s{why}"


def _doubted(samples: ChannelSamples) -> ChannelSamples:
    """A counter with gaps long enough for more than one wrap, and the energy of these wraps."""
    channel, good = samples.channel, ~np.isnan(samples.values)
    if channel.kind != "counter" or not channel.range_j:
        return samples
    limit_w = channel.limit_w or highest_possible_w(channel.domain)
    wraps_s = channel.range_j / limit_w
    if _length_s(samples) <= wraps_s or good.sum() < TWO:
        return samples
    steps_s, steps_j = np.diff(samples.times_s[good]), np.diff(samples.values[good])
    long = steps_s > wraps_s
    if not long.any():
        return samples
    # At least once: a device at its limit overshoots it.
    more = np.floor((limit_w * steps_s[long] - steps_j[long]) / channel.range_j)
    unseen_j = float(channel.range_j * np.maximum(more, 1).sum())
    doubt = (
        f"no sample for {steps_s.max():.0f} s, and at {limit_w:.4g} W it wraps every "
        f"{wraps_s:.0f} s: up to {unseen_j:.4g} J may have passed unseen"
    )
    return replace(samples, doubt=doubt, unseen_j=unseen_j)


def _drawn_w(channel_samples: Sequence[ChannelSamples]) -> float | None:
    """The mean power of another sensor of the domain; ``None`` if there is none."""
    for samples in channel_samples:
        if samples.channel.kind == "power" and samples.channel.status is Status.MEASURED:
            positive = samples.values[samples.values > 0]
            if len(positive):
                return float(positive.mean())
    return None


def _runs(flagged: Mask, times_s: Floats, least_s: float) -> list[tuple[int, int, float]]:
    """First index of each long run of true values, the index after it, and its duration.

    Args:
        flagged: (n,), of samples or of the steps between them.
        times_s: times of the samples; a value holds until the next one.
        least_s: shortest run.
    """
    edges = np.flatnonzero(np.diff(flagged.view(np.int8), prepend=0, append=0))
    first, after = edges[::2], edges[1::2]
    long_s = times_s[np.minimum(after, len(times_s) - 1)] - times_s[first]
    # Short runs are as many as samples, long ones are rare.
    enough = long_s >= least_s * (1 - 1e-9)
    columns = (first[enough].tolist(), after[enough].tolist(), long_s[enough].tolist())
    return list(zip(*columns, strict=True))


def _unread(samples: ChannelSamples, bad: Mask, why: str) -> ChannelSamples:
    values = np.where(bad, np.nan, samples.values)
    return replace(samples, values=values, unreadable=why)


def _length_s(samples: ChannelSamples) -> float:
    return float(samples.times_s[-1] - samples.times_s[0]) if len(samples.times_s) else 0.0


def _worth_a_flag(samples: ChannelSamples) -> bool:
    return family(samples.channel.domain) not in MAY_BE_OFF and TOO_SHORT not in samples.unreadable


def _instrument(channel: Channel) -> tuple[str, str]:
    return channel.domain, instrument_of(channel.source)


def _is_a_part(channel: Channel) -> bool:
    """Whether it is a rail of a chip, which may be off while its container is on."""
    return family(channel.domain) in MAY_BE_OFF or any(one != "wall" for one in channel.within)
