"""A profile as people and programs read it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from joulelab import formats
from joulelab.energy.measurement import amount_said, measurement_data, measurement_remarks
from joulelab.present import Column, Part, Remark, Table, words
from joulelab.profiling.result import FEW, FunctionEnergy, Profile

MOST_ROWS = 12
"""Most functions listed for what they take themselves, and most for what they call."""
LIBRARY_SHARE = 0.05
"""Libraries with less of the energy are not said."""
LEAST_SHARE = 0.005
"""Functions with less are added up, not listed."""
DIVIDED = (
    "Shares are estimates: the energy between two readings of a meter is divided by the processor "
    "time of the stacks seen in it, energy at idle by time."
)
QUEUED = (
    "GPU energy counts where the program was when it was drawn: mostly at the call that waits for "
    "the device (synchronize, .item(), .cpu()), not at the one that queued the work."
)


LEAST_NAMED = 0.005
"""A smaller share of the energy is not worth a name: the program was too short."""


def profile_answer(profile: Profile) -> str:
    """What costs most, of how much, in one line.

    ``train_step (train.py:12) takes 61 % of about 148 J (0.0411 Wh), 38.0 s; estimated, ...``

    Args:
        profile: of the whole.
    """
    said, top = amount_said(profile.measurement), profile.top
    if top is None or top.own_share < LEAST_NAMED:
        return f"{said[0].upper()}{said[1:]}"
    libraries = top.own_share - top.self_share > LIBRARY_SHARE
    takes = f"{top.function} takes {formats.percent(top.own_share, 0)}"
    if libraries and top.function.is_own:
        takes += ", with the libraries that it calls,"
    if profile.energy_j is None:
        return f"{takes} of the time; {said}"
    return f"{takes} of {said}"


def profile_parts(profile: Profile) -> list[Part]:
    """The answer, functions, phases, and remarks.

    Args:
        profile: of the whole.
    """
    return [profile_answer(profile), *profile_tables(profile), *profile_remarks(profile)]


def profile_tables(profile: Profile) -> Iterator[Table]:
    """Functions, those with most energy in themselves first, and phases.

    Args:
        profile: of the whole.
    """
    if profile.samples:
        yield _functions_table(profile)
    if profile.phases:
        yield _phases_table(profile)


def profile_remarks(profile: Profile) -> Iterator[Part]:
    """How sure the shares are, and what the measurement remarks.

    Args:
        profile: of the whole.
    """
    asked = f"{profile.rate_hz:g} samples a second"
    duration = formats.duration(profile.measurement.duration_s)
    if not profile.samples:
        yield Remark(f"Too short for a profile: {duration} at {asked}, and no stack was seen")
    elif profile.samples < FEW:
        seen = formats.count(profile.samples, "sample")
        yield Remark(f"Only {seen} in {duration}: shares are coarse; profile a longer run")
    else:
        # At most, for a share of a half; the samples are not quite independent.
        points = 100 * 1.96 * 0.5 / math.sqrt(profile.samples)
        yield (
            f"{profile.samples:,} samples: a share is off by at most {points:.1f} points "
            f"(95 %). {DIVIDED}"
        )
    if profile.devices:
        yield QUEUED
    yield from measurement_remarks(profile.measurement)


def profile_data(profile: Profile) -> dict[str, Any]:
    """A profile as plain data.

    Args:
        profile: of the whole.
    """
    return {
        "measurement": measurement_data(profile.measurement),
        "rate_hz": profile.rate_hz,
        "samples": profile.samples,
        "functions": [_data(one) for one in profile.functions],
        "phases": {
            name: {**asdict(one), "status": str(one.status)} for name, one in profile.phases.items()
        },
    }


def _data(one: FunctionEnergy) -> dict[str, Any]:
    values = {key: value for key, value in vars(one).items() if key not in ("function", "status")}
    return {**asdict(one.function), **values, "status": str(one.status)}


def _row(one: FunctionEnergy) -> dict[str, Any]:
    return {
        "function": one.function.name,
        "where": one.function.place,
        **{key: value for key, value in vars(one).items() if key not in ("function", "status")},
    }


def _functions_table(profile: Profile) -> Table:
    listed = _listed(profile.functions)
    others = [_row(one) for one in profile.functions if one not in listed]
    shown = [_row(one) for one in listed]
    if any(row["self_share"] for row in others):
        shown.append(_sum(formats.count(len(others), "other"), others))
    every = [_row(one) for one in profile.functions]
    columns = [
        words("function"),
        words("where"),
        *_sizes(profile, "self"),
        *_sizes(profile, "total"),
    ]
    if profile.devices:
        columns.append(Column("self, GPU", "gpu_j", units=formats.ENERGY, wide=True))
    return Table(
        every,
        columns,
        key="functions",
        title="Functions: in themselves, and with the functions that they call",
        shown=shown,
        total=_sum("all", every),
    )


def _listed(functions: Sequence[FunctionEnergy]) -> list[FunctionEnergy]:
    """Those that take most themselves, then those of the program that call them."""
    most = [one for one in functions[:MOST_ROWS] if one.self_share >= LEAST_SHARE]
    calling = [
        one
        for one in sorted(functions, key=lambda one: -one.total_share)
        if one.function.is_own and one.total_share >= LEAST_SHARE and one not in most
    ]
    return most + calling[:MOST_ROWS]


def _sizes(profile: Profile, kind: str) -> list[Column]:
    share = Column(kind, f"{kind}_share", formats.percent)
    if profile.energy_j is None:
        return [share]
    return [Column(kind, f"{kind}_j", units=formats.ENERGY), Column("share", share.of, share.form)]


def _sum(name: str, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    def added(key: str) -> float | None:
        values = [row[key] for row in rows]
        return None if None in values else math.fsum(values)

    keys = ("self_j", "self_share", "gpu_j")
    return {
        "function": name,
        "where": "",
        "total_j": None,
        "total_share": None,
        **{key: added(key) for key in keys},
    }


def _phases_table(profile: Profile) -> Table:
    whole_j, rows = profile.energy_j, []
    for name, one in profile.phases.items():
        known = one.energy_j is not None and whole_j
        rows.append(
            {
                "phase": name,
                "energy_j": one.energy_j,
                "share": (one.energy_j or 0.0) / whole_j if known and whole_j else None,
                "duration_s": one.duration_s,
                "times": one.times,
                "status": str(one.status),
            }
        )
    rows.sort(key=lambda row: -float(row["energy_j"] or 0.0))
    return Table(
        rows,
        [
            words("phase"),
            Column("energy", "energy_j", units=formats.ENERGY),
            Column("share", form=formats.percent),
            Column("time", "duration_s", formats.duration),
            Column("times"),
            words("status"),
        ],
        key="phases",
        title="Phases",
    )
