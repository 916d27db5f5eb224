"""Which meters work on this machine, and a recorder over them."""

from __future__ import annotations

from collections.abc import Sequence

from joulelab.energy.estimate import EstimateDetector
from joulelab.energy.meter import Meter, Missing, meters
from joulelab.energy.recorder import DEFAULT_INTERVAL_S, Recorder
from joulelab.errors import JoulelabError, MeterError

ESTIMATE = "estimate"


def open_recorder(
    names: Sequence[str] | None = None,
    *,
    interval_s: float = DEFAULT_INTERVAL_S,
    tdp_w: float | None = None,
) -> Recorder:
    """A recorder over the meters that work here; not yet started.

    Args:
        names: only these meters; ``None`` for all. The estimate reads only the domains that no
            sensor among them reads.
        interval_s: time between two samples in seconds.
        tdp_w: thermal design power of the processor, for the estimate.

    Raises:
        UnknownNameError: no meter has that name.
        MeterError: a meter that was asked for by name finds nothing to read.
    """
    found: list[Meter] = []
    missing: list[Missing] = []
    for name in meters.names() if names is None else names:
        if name == ESTIMATE:
            continue
        its_meters, its_missing = _detected(name)
        found += its_meters
        missing += its_missing
        if names is not None and not its_meters:
            raise _nothing(name, its_missing)
    measured = {channel.domain for meter in found for channel in meter.channels}
    if names is None or ESTIMATE in names:
        # Last, because it fills in only what no sensor reads.
        found += EstimateDetector(tdp_w, measured).detect()[0]
    return Recorder(found, interval_s=interval_s, missing=missing)


def _detected(name: str) -> tuple[Sequence[Meter], Sequence[Missing]]:
    try:
        return meters.get(name)().detect()
    except JoulelabError:
        raise
    except Exception as error:  # a meter from outside may raise anything
        reason = f"its detector raised {type(error).__name__}: {error}"
        return [], [Missing(name, reason, "mend or uninstall the package that brings it")]


def _nothing(name: str, missing: Sequence[Missing]) -> MeterError:
    why = missing[0] if missing else Missing("", "there is no such device here")
    return MeterError(
        f"the meter {name!r} cannot read anything: {why.reason}",
        why.remedy or 'use meters = "auto" for whatever works here',
    )
