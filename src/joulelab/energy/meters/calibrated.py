"""A meter whose readings are multiplied by the factors of its setting ``calibration``.

::

    [meter.codecarbon]
    calibration = 1.06                            # all that it reads
    calibration = { "cpu:0" = 1.06, wall = 0.99 } # or by domain

A factor is reference / meter, from a comparison with a better instrument on the same runs
(``joulelab instruments``). Energy and power of the domain are multiplied by it; domains without one
stay as they are. The channel's bound of the error stays too, as a share of the energy: what the
factor takes away is how far the meter was from that reference over those runs, and neither the
reference's own error nor the scatter of the comparison is known here. The meter ``nvml`` has
factors by UUID and multiplies by itself (`joulelab.energy.meters.nvml`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from joulelab.energy.meter import Channel, Hidden, Meter, Sample
from joulelab.energy.meters.settings import CALIBRATION, EVERY


class CalibratedMeter(Meter):
    """Another meter, its energies and powers multiplied.

    Args:
        meter: whose readings; closed with this one.
        factors: by domain, or by `EVERY`.
    """

    def __init__(self, meter: Meter, factors: Mapping[str, float]) -> None:
        self.name = meter.name
        self.interval_s = meter.interval_s
        self._meter = meter
        every = factors.get(EVERY, 1.0)
        self._factors = [factors.get(channel.domain, every) for channel in meter.channels]
        pairs = zip(meter.channels, self._factors, strict=True)
        self._channels = tuple(_calibrated(channel, factor) for channel, factor in pairs)

    @property
    def channels(self) -> Sequence[Channel]:
        """Those of the meter; a remark says by what they are multiplied."""
        return self._channels

    def sample(self) -> Sequence[Sample]:
        """What the meter says, multiplied."""
        samples = self._meter.sample()
        return [
            sample if sample.value is None else replace(sample, value=sample.value * factor)
            for sample, factor in zip(samples, self._factors, strict=True)
        ]

    def approach_edge(self) -> None:
        """Tell the meter."""
        self._meter.approach_edge()

    def hidden_from(self, environment: Mapping[str, str]) -> Hidden:
        """As of the meter."""
        return self._meter.hidden_from(environment)

    def describe(self) -> Mapping[str, str]:
        """What the meter says of itself, and the factors."""
        factors = {
            f"{channel.domain} {CALIBRATION}": f"{factor:g}"
            for channel, factor in zip(self._channels, self._factors, strict=True)
            if factor != 1.0
        }
        return {**self._meter.describe(), **factors}

    def close(self) -> None:
        """Close the meter."""
        self._meter.close()


def _calibrated(channel: Channel, factor: float) -> Channel:
    if factor == 1.0:
        return channel
    said = f"calibrated by {factor:g}"
    return replace(
        channel,
        remark=f"{channel.remark}; {said}" if channel.remark else said,
        resolution_j=channel.resolution_j * factor,
        range_j=None if channel.range_j is None else channel.range_j * factor,
        limit_w=None if channel.limit_w is None else channel.limit_w * factor,
        calibration=channel.calibration * factor,
    )
