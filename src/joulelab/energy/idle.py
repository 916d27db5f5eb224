"""Waiting for a device to come back to its idle power."""

from __future__ import annotations

import time

from joulelab.energy.reading import Status
from joulelab.energy.recorder import Recorder

LOOK_S = 1.0
TOLERANCE = 0.1
LEAST_TOLERANCE_W = 2.0


def wait_until_idle(
    recorder: Recorder, device: str, *, limit_s: float, tolerance: float = TOLERANCE
) -> bool:
    """Wait until a device is back near the idle power that the recorder remembers.

    Domains that are only estimated are not waited for: an estimate follows this process, which is
    waiting, and knows nothing of heat or of others.

    Args:
        recorder: started, with idle power measured.
        device: ``"gpu:<n>"``, or ``"cpu"`` for every processor.
        limit_s: longest wait in seconds.
        tolerance: how far above idle power is near enough, as a fraction (or 2 W if that is more).

    Returns:
        Whether idle power was reached in time; true at once where nothing is measured.
    """
    measured = {
        channel.domain
        for channel in recorder.channels
        if channel.status is Status.MEASURED and device in {channel.domain, _family(channel.domain)}
    }
    wanted_w = {domain: w for domain, w in recorder.idle_w.items() if domain in measured}
    deadline_s = time.monotonic() + limit_s
    while wanted_w:
        window = recorder.open("cooling down")
        time.sleep(LOOK_S)
        readings = window.close().readings
        above = [
            reading.domain
            for reading in readings
            if reading.domain in wanted_w
            and reading.mean_power_w is not None
            and reading.mean_power_w - wanted_w[reading.domain]
            > max(LEAST_TOLERANCE_W, tolerance * wanted_w[reading.domain])
        ]
        if not above:
            return True
        if time.monotonic() >= deadline_s:
            return False
    return True


def _family(domain: str) -> str:
    return domain.partition(":")[0]
