"""The replay meter: plays a recorded trace as if its sensors were here.

Time zero of the recording is the moment at which the meter is first read. A value stands until the
next one of the recording; after the last one the channels are unreadable, unless the recording is
to begin anew. The sources are named after the original ones: ``replay:nvml-power``.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from joulelab.energy.meter import Channel, Detector, Meter, Missing, Sample
from joulelab.energy.recording import Recording, read_recording
from joulelab.energy.tape import Stretch


class ReplayMeter(Meter):
    """Plays a recording.

    Args:
        recording: what to play.
        loop: begin anew after the end; counters go on from where they were.
        clock: seconds that never go back.
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
        self._closed = False
        self._channels = tuple(
            replace(one.channel, source=f"replay:{one.channel.source}")
            for one in recording.stretches
        )
        self._length_s = recording.end_s - recording.start_s

    @property
    def channels(self) -> Sequence[Channel]:
        """Those of the recording."""
        return self._channels

    def sample(self) -> Sequence[Sample]:
        """What the recording says of this moment."""
        if self._closed:
            return [Sample(None, "closed") for _ in self._channels]
        now_s = self._clock()
        if self._began_s is None:
            self._began_s = now_s
        round_, within_s = 0.0, now_s - self._began_s
        if self._loop and self._length_s > 0:
            round_, within_s = divmod(within_s, self._length_s)
        at_s = self._recording.start_s + within_s
        return [self._played(stretch, at_s, int(round_)) for stretch in self._recording.stretches]

    def describe(self) -> Mapping[str, str]:
        """The recording: label, length and the meters of the time."""
        about = self._recording.about
        told = {
            f"{meter} {key}": value
            for meter, described in about.meters.items()
            for key, value in described.items()
        }
        return {"recording": about.label, "length_s": f"{self._length_s:.6g}", **told}

    def close(self) -> None:
        """Stop; nothing is held."""
        self._closed = True

    def _played(self, stretch: Stretch, at_s: float, round_: int) -> Sample:
        if at_s > stretch.times_s[-1]:
            return Sample(None, "the recording has ended")
        position = int(np.searchsorted(stretch.times_s, at_s, "right")) - 1
        if position < 0:
            return Sample(None, "the recording of this channel begins later")
        value = float(stretch.values[position])
        if math.isnan(value):
            return Sample(None, stretch.unreadable)
        if stretch.channel.kind == "counter":
            value += round_ * float(np.nanmax(stretch.values) - np.nanmin(stretch.values))
        state = {
            name: float(column[position])
            for name, column in stretch.state.items()
            if not math.isnan(column[position])
        }
        return Sample(value, state=state)


class ReplayDetector(Detector):
    """Plays a recorded trace.

    Args:
        address: the file; Parquet or CSV.
        loop: as for `ReplayMeter`.
        where: ``"column=value"``, where one file holds several recordings.
        domain: of a file that does not name domains.
        time: name of the column of times, of a file that is not joulelab's.
        power: name of the column of watts.
    """

    automatic = False

    def __init__(
        self,
        address: str = "",
        *,
        loop: bool = False,
        where: str = "",
        domain: str = "gpu:0",
        time: str = "",
        power: str = "",
    ) -> None:
        self._address = address
        self._loop = loop
        self._read = {
            "where": str(where),
            "domain": domain,
            "time_column": time,
            "power_column": power,
        }

    def detect(self) -> tuple[Sequence[Meter], Sequence[Missing]]:
        """The meter; a `Missing` where no file is named.

        Raises:
            TraceError: the file is no power trace.
        """
        if not self._address:
            return [], [Missing("replay", "no recording is named", "write replay:FILE")]
        recording = read_recording(self._address, **self._read)
        return [ReplayMeter(recording, loop=bool(self._loop))], []
