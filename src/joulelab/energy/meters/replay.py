"""The replay meter: plays a recorded trace as if its sensors were present.

Time zero of the recording is the first reading of the meter. A value holds until the next one of
the recording; after the last one the channels are unreadable, unless the recording loops. The
sources are named after the original ones, ``replay:nvml-power``; their tick is at least the
interval of the recording, the largest age of a value.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, replace
from typing import ClassVar

import numpy as np

from joulelab.energy.figure import longest_step_s
from joulelab.energy.meter import Detector, Meter, Missing, OpenMeter, Sample
from joulelab.energy.meters.settings import check_truth, checked_number, is_domain
from joulelab.energy.sample_buffer import ChannelSamples, Floats
from joulelab.energy.trace import Sensor
from joulelab.energy.traces.recording import Recording, read_recording
from joulelab.errors import SettingsError, quoted
from joulelab.tabular.local_time import read_zone


class ReplayMeter(OpenMeter):
    """Plays a recording.

    Args:
        recording: the recording to play.
        loop: start over after the end; counters continue.
        clock: a monotonic clock in seconds.
    """

    name = "replay"

    def __init__(
        self,
        recording: Recording,
        *,
        loop: bool = False,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._recording = recording
        self._loop = loop
        self._clock = clock
        self._began_s: float | None = None
        super().__init__(
            [
                replace(
                    one.channel,
                    source=f"replay:{one.channel.source}",
                    tick_s=max(one.channel.tick_s, one.interval_s),
                    sensor=_aged(one),
                )
                for one in recording.channel_samples
            ]
        )
        self._start_s, self._end_s = recording.start_s, recording.end_s
        self._length_s = self._end_s - self._start_s
        self._round_j = {id(one): _span(one.values) for one in recording.channel_samples}

    def read(self) -> Sequence[Sample]:
        """The values of the recording at this time."""
        now_s = self._clock()
        if self._began_s is None:
            self._began_s = now_s
        rounds, within_s = 0.0, now_s - self._began_s
        if self._loop and self._length_s > 0:
            rounds, within_s = divmod(within_s, self._length_s)
        at_s = self._start_s + within_s
        return [
            self._played(samples, at_s, int(rounds)) for samples in self._recording.channel_samples
        ]

    def describe(self) -> Mapping[str, str]:
        """The recording: label, length and original meters."""
        about = self._recording.about
        told = {
            f"{meter} {key}": str(value)
            for meter, described in about.meters.items()
            for key, value in described.items()
        }
        return {"recording": about.label, "length_s": f"{self._length_s:.6g}", **told}

    def _played(self, samples: ChannelSamples, at_s: float, rounds: int) -> Sample:
        # Channels are read one after the other: at both ends each also counts for those before it.
        ends_s = min(float(samples.times_s[-1]) + samples.interval_s, self._end_s)
        if at_s > ends_s:
            return Sample(None, "the recording has ended")
        if at_s < samples.times_s[0] - samples.interval_s:
            return Sample(None, "the recording of this channel begins later")
        position = max(int(np.searchsorted(samples.times_s, at_s, "right")) - 1, 0)
        if self._in_hole(samples, position, at_s):
            return Sample(None, "the recording has a gap")
        value = float(samples.values[position])
        if math.isnan(value):
            return Sample(None, samples.unreadable)
        if samples.channel.kind == "counter":
            value += rounds * self._round_j[id(samples)]
        state = {
            name: float(column[position])
            for name, column in samples.state.items()
            if not math.isnan(column[position])
        }
        return Sample(value, state=state)

    def _in_hole(self, samples: ChannelSamples, position: int, at_s: float) -> bool:
        """Whether a time is in a gap of the recording, after the time that a value holds."""
        times = samples.times_s
        if position + 1 == len(times) or at_s <= times[position] + samples.interval_s:
            return False
        longest_s = longest_step_s(samples.interval_s, self._length_s)
        return bool(times[position + 1] - times[position] > longest_s)


def _aged(samples: ChannelSamples) -> Sensor | None:
    """The sensor of a channel; its values are at most one interval of the recording old."""
    sensor = samples.channel.sensor
    if sensor is None:
        return None
    return replace(sensor, update_s=max(sensor.update_s, samples.interval_s))


def _span(values: Floats) -> float:
    """The energy of a counter in one pass of the recording."""
    known = values[~np.isnan(values)]
    return float(known.max() - known.min()) if len(known) else 0.0


@dataclass
class ReplayDetector(Detector):
    """Plays a recorded trace.

    Args:
        address: the file; Parquet or CSV.
        loop: as for `ReplayMeter`.
        where: ``"column=value"``, to select one of several recordings in a file.
        domain: of a file without domains.
        time: time column, for a foreign file.
        power: power column.
        device: the column that identifies the device, or the name of the only device.
        timezone: of times without one; empty for this machine's.
        interval: time between rows without times, in seconds.

    Raises:
        SettingsError: `loop` is not a boolean, `interval` not a number above 0, or `domain` not the
            name of one.
        UsageError: the time zone is unknown.
    """

    automatic: ClassVar[bool] = False

    address: str = ""
    _: KW_ONLY
    loop: bool = False
    where: str = ""
    domain: str = "gpu:0"
    time: str = ""
    power: str = ""
    device: str = ""
    timezone: str = ""
    interval: float | None = None

    def __post_init__(self) -> None:
        check_truth("replay: loop", self.loop)
        if self.interval is not None:
            checked_number("replay: interval", self.interval, what="seconds between rows,")
        if not is_domain(str(self.domain)):
            raise SettingsError(
                f"replay: domain = {quoted(self.domain)} is not the name of a domain",
                "for instance gpu:0 or wall",
            )
        read_zone(str(self.timezone))

    def detect(self) -> tuple[Sequence[Meter], Sequence[Missing]]:
        """The meter, or a `Missing` if no file is given.

        Raises:
            TraceError: the file is not a power trace.
        """
        if not self.address:
            return [], [Missing("replay", "no recording was given", "write replay:FILE")]
        # Settings in a name are parsed as TOML: where=7 is a number here.
        recording = read_recording(
            str(self.address),
            where=str(self.where),
            domain=str(self.domain),
            time_column=str(self.time),
            power_column=str(self.power),
            device=str(self.device),
            timezone=str(self.timezone),
            interval_s=None if self.interval is None else float(self.interval),
        )
        return [ReplayMeter(recording, loop=self.loop)], []
