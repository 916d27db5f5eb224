"""What a sensor says that cannot be, though it answers: a counter that stands still, power of 0 W.

::

    joules    .  '  '  '  '  ,----------------   frozen: what follows is not known
    joules    ------------------------------     all zero, as in a virtual machine: nothing is known
    joules    .  '  ,------.  '  '               stood still and caught up: all of it was counted
    watts     ~~~~~~~~~_________~~~~~~~~~~       0 W for a while: not read there
    joules    .  '               '  '            so long a gap that it may have wrapped twice

Whatever is switched on draws power, so a true 0 is impossible. Samples that cannot be right become
unreadable here, with the reason, before anything is computed from a window: then another sensor of
the domain counts, or what was seen and a bound for the rest, or nothing. A counter that has stood
still, and does not make up for it, is not believed for the rest of the window: what it lost is
unknown.

How long a counter may stand still: ten ticks of its sensor, one second at the least, for as long as
the least power that is plausible takes for five of its steps, and three times as long as it usually
does. That power is half of what is said beside it, else `LEAST_W`. A window within which it has not
moved at all is never 0 J, however short it is: that is too short to be measured with this counter.

Parts that can be switched off while the machine runs (`MAY_BE_OFF`) may well have used nothing. It
cannot be told from a counter that does not count, so they are missing too, but nothing is flagged.
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
"""The least that a processor, a memory or a card draws while it is switched on."""
OFTEN, LONGER = 4, 3
"""A counter that has moved so often stands still when it takes so many times longer than usual."""
CAUGHT_UP = 0.5
"""The share of the usual power at which a counter's jump makes up for the time it stood still."""
AS_READ = 1.5
"""A counter that stands for less than so many samples has moved between all of them."""
TOO_SHORT = "too short a time for this counter"
TWO = 2

Mask = NDArray[np.bool_]


def believed(channel_samples: Sequence[ChannelSamples]) -> tuple[list[ChannelSamples], list[str]]:
    """The samples of a window without those that cannot be right.

    Args:
        channel_samples: samples of every channel.

    Returns:
        The same with such samples unreadable; and what is to be flagged, where another sensor of
        the instrument counts in place of this one, or a wrap may have passed unseen.
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
        # Where nothing of the instrument counts the reason stands with its reading.
        replaced = sound.unreadable != samples.unreadable and _worth_a_flag(sound)
        if replaced and _instrument(sound.channel) in counting:
            flags.append(f"{where} {sound.unreadable}")
    return kept, flags


def _sound(samples: ChannelSamples, beside: Sequence[ChannelSamples]) -> ChannelSamples:
    channel = samples.channel
    # What is computed has no tick, and may be 0: processor time of a process that sleeps.
    if channel.status is Status.ESTIMATED and not channel.tick_s:
        return samples
    if channel.kind == "power":
        return _without_zeros(samples)
    values = samples.values
    if len(values) < TWO or (values[0] != values[-1] and _length_s(samples) < STILL_S):
        return samples  # the ordinary case of a short window, without array arithmetic
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
    """Power without the times in which it was 0 W for longer than a sensor needs."""
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
    """Which samples of a counter are not to be believed, and for how long it stood still.

    Args:
        times_s: (n,), of the samples that could be read.
        values_j: (n,).
        channel: whose.
        drawn_w: mean power by another sensor of the domain, in watts, where there is one.
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
            bad[: last + 1] = True  # and the jump that follows, part of which was before
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
    """How long a counter usually shows one value.

    0 where it has not moved often enough to tell; and where it has at nearly every sample, so that
    this is how seldom it is read, while it is known how often the sensor moves.
    """
    moved_s = times_s[1:][~still]
    if len(moved_s) < OFTEN:
        return 0.0
    usual_s = float(np.median(np.diff(moved_s)))
    as_read = usual_s < AS_READ * float(np.median(np.diff(times_s)))
    return 0.0 if channel.tick_s and as_read else usual_s


def _may_stand_s(channel: Channel, drawn_w: float | None) -> float:
    """How long a counter may show one value while its sensor works."""
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
    """A counter with gaps in which it may have wrapped more than once, with what that may be."""
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
    # Once at least: a device at its limit overshoots it.
    more = np.floor((limit_w * steps_s[long] - steps_j[long]) / channel.range_j)
    unseen_j = float(channel.range_j * np.maximum(more, 1).sum())
    doubt = (
        f"no sample for {steps_s.max():.0f} s, and at {limit_w:.4g} W it wraps every "
        f"{wraps_s:.0f} s: up to {unseen_j:.4g} J may have passed unseen"
    )
    return replace(samples, doubt=doubt, unseen_j=unseen_j)


def _drawn_w(channel_samples: Sequence[ChannelSamples]) -> float | None:
    """The mean power that another sensor of the domain says; ``None`` where none says any."""
    for samples in channel_samples:
        if samples.channel.kind == "power" and samples.channel.status is Status.MEASURED:
            positive = samples.values[samples.values > 0]
            if len(positive):
                return float(positive.mean())
    return None


def _runs(flagged: Mask, times_s: Floats, least_s: float) -> list[tuple[int, int, float]]:
    """First index of each long run of true values, the index after it, and how long it is.

    Args:
        flagged: (n,), of samples or of the steps between them.
        times_s: moments of the samples; a value stands until the next one.
        least_s: how long a run is at the least.
    """
    edges = np.flatnonzero(np.diff(flagged.view(np.int8), prepend=0, append=0))
    first, after = edges[::2], edges[1::2]
    long_s = times_s[np.minimum(after, len(times_s) - 1)] - times_s[first]
    # There are as many short ones as samples, and hardly a long one.
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
    """Whether it is a rail of a chip, which may be off while what contains it is on."""
    return family(channel.domain) in MAY_BE_OFF or any(one != "wall" for one in channel.within)
