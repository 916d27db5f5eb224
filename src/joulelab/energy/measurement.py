"""All readings of one window, their sum, and their display: a table of domains, and notes."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from joulelab import formats
from joulelab.energy.carbon.footprint import Footprint
from joulelab.energy.job import Job, Node
from joulelab.energy.reading import MAY_BE_OFF, Reading, Status, Total, family, plain_data, total
from joulelab.present import Column, Part, Remark, Table, words

IDLE_TOLERANCE = 0.1
IDLE_TOLERANCE_W = 2.0
BOTH = 2
LONGEST_LABEL = 60
LEAST_IN_HOURS_J = 3.6
"""Less than 0.001 Wh is said in joules alone."""
_OF_BOTH = ("gross_j", "error_j", "idle_j", "net_j", "net_error_j")
_DERIVED = ("idle_j", "idle_error_j", "net_j", "net_error_j")
"""Values of a reading or a sum that are computed from its attributes."""


@dataclass(frozen=True)
class Measurement:
    """All readings of one window.

    Attributes:
        label: what was measured.
        started_at: wall-clock time of the opening, seconds since the epoch (for display only:
            durations come from the monotonic clock); ``None`` if a recording does not say.
        duration_s: length of the window in seconds of the monotonic clock.
        readings: one for each domain.
        samples: number of samples within the window.
        longest_gap_s: longest time between two consecutive samples.
        flags: remarks on quality, for instance ``"no sample for 0.80 s"``.
        domains: domains that count as the energy of the window; ``None`` for all that are known.
        footprint: carbon dioxide equivalent of that energy, if the place is known.
        others: readings of other instruments of the same domains, or for comparison only: each
            domain and instrument once, not in any sum, without idle power.
        left_out: domains that do not count unless named, because the measured program cannot use
            them: GPUs that are hidden from it.
        job: of the ranks that were measured; ``None`` for a program of one process. If it has
            several nodes, domains are named by node: ``"a/gpu:0"``.
    """

    label: str
    started_at: float | None
    duration_s: float
    readings: tuple[Reading, ...]
    samples: int
    longest_gap_s: float
    flags: tuple[str, ...] = ()
    domains: tuple[str, ...] | None = None
    footprint: Footprint | None = None
    others: tuple[Reading, ...] = ()
    left_out: tuple[str, ...] = ()
    job: Job | None = None

    def __getitem__(self, domain: str) -> Reading:
        for reading in self.readings:
            if reading.domain == domain:
                return reading
        known = ", ".join(reading.domain for reading in self.readings)
        raise KeyError(f"{domain}; there are {known}")

    def __call__(self) -> Measurement:
        """Itself: ``m.result()`` is ``m.result``."""
        return self

    @property
    def total(self) -> Total:
        """The sum over the domains that count, without double counting.

        If the user has named the domains, one unknown energy makes the sum unknown; otherwise the
        sum is over the known domains, listed in its ``domains``.
        """
        if self.domains is None:
            return total(
                reading
                for reading in self.readings
                if reading.gross_j is not None and reading.domain not in self.left_out
            )
        return total(reading for reading in self.readings if reading.domain in self.domains)

    @property
    def lost(self) -> tuple[Reading, ...]:
        """Domains that should count and have a sensor, but no number.

        Not included: parts of a known domain, domains that may have been off, and a platform with
        known parts, because firmware often exposes a counter that does not count.
        """
        known = {reading.domain for reading in self.readings if reading.gross_j is not None}
        platforms = {
            outer
            for reading in self.readings
            for outer in reading.within
            if reading.gross_j is not None and family(outer) == "psys"
        }
        return tuple(
            reading
            for reading in self.readings
            if reading.gross_j is None
            and reading.source != "none"
            and (self.domains is None or reading.domain in self.domains)
            and reading.domain not in (*self.left_out, *platforms)
            and family(reading.domain) not in MAY_BE_OFF
            and not known.intersection(reading.within)
        )

    @property
    def nodes(self) -> tuple[Node, ...]:
        """What each node of its job took; empty for a program of one process."""
        return self.job.nodes if self.job else ()

    @property
    def energy_j(self) -> float | None:
        """Gross energy in joules over the domains that count; ``None`` where unknown."""
        return self.total.gross_j

    @property
    def mean_power_w(self) -> float | None:
        """Mean power in watts over the domains that count; ``None`` where unknown."""
        gross_j = self.total.gross_j
        return gross_j / self.duration_s if gross_j is not None and self.duration_s > 0 else None

    @property
    def co2e_g(self) -> float | None:
        """Carbon dioxide equivalent in grams; ``None`` where place or energy is unknown."""
        return self.footprint.grams if self.footprint else None

    def shared(self, parts: float) -> Measurement:
        """The measurement of one of `parts` trainings that ran together; see `Reading.shared`."""
        return replace(
            self,
            duration_s=self.duration_s / parts,
            readings=tuple(reading.shared(parts) for reading in self.readings),
            others=tuple(reading.shared(parts) for reading in self.others),
        )

    def with_idle(
        self,
        before_w: Mapping[str, float],
        after_w: Mapping[str, float],
        *errors_w: Mapping[str, float],
    ) -> Measurement:
        """The same with idle power as the mean of before and after the window.

        Args:
            before_w: idle power in watts by domain, measured before it.
            after_w: the same, measured after it.
            errors_w: their error bounds by domain; the larger counts. The difference of the two is
                added, because idle power during the window is unknown.
        """
        flags = list(self.flags)
        readings = []
        for reading in self.readings:
            known = [w[reading.domain] for w in (before_w, after_w) if reading.domain in w]
            if len(known) == BOTH and abs(known[1] - known[0]) > _allowed_w(known):
                flags.append(
                    f"{reading.domain}: idle power was {known[0]:.3g} W before and "
                    f"{known[1]:.3g} W after"
                )
            bounds = [w[reading.domain] for w in errors_w if reading.domain in w]
            mean_w = math.fsum(known) / len(known) if known else None
            error_w = max(bounds) + (max(known) - min(known)) / 2 if bounds and known else None
            readings.append(replace(reading, idle_w=mean_w, idle_error_w=error_w))
        return replace(self, readings=tuple(readings), flags=tuple(flags))

    def __str__(self) -> str:
        """The table of its domains, and remarks."""
        from joulelab.present.terminal import to_text

        return to_text(*measurement_parts(self))

    def _repr_html_(self) -> str:
        """HTML for a notebook."""
        from joulelab.present.html import fragment

        return fragment(*measurement_parts(self))

    def to_dict(self) -> dict[str, Any]:
        """Plain data, as the store keeps it."""
        plain: dict[str, Any] = plain_data(self)
        if self.job is None:
            del plain["job"]
        return plain

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Measurement:
        """The inverse of `to_dict`."""
        domains, footprint, job = data.get("domains"), data.get("footprint"), data.get("job")
        return cls(
            **{
                **data,
                "readings": tuple(Reading.from_dict(reading) for reading in data["readings"]),
                "flags": tuple(data["flags"]),
                "domains": None if domains is None else tuple(domains),
                "footprint": Footprint.from_dict(footprint) if footprint else None,
                "others": tuple(Reading.from_dict(one) for one in data.get("others", ())),
                "left_out": tuple(data.get("left_out", ())),
                "job": Job.from_dict(job) if job else None,
            }
        )


def _allowed_w(idle_w: Sequence[float]) -> float:
    return max(IDLE_TOLERANCE_W, IDLE_TOLERANCE * max(idle_w))


def measurement_parts(measurement: Measurement) -> list[Part]:
    """A measurement as people read it: the answer, the table of its domains, remarks, and CO2e.

    Args:
        measurement: of one window.
    """
    footprint = [str(measurement.footprint)] if measurement.footprint else []
    parts: list[Part] = [answer(measurement), *node_table(measurement)]
    parts.append(measurement_table(measurement))
    return [*parts, *measurement_remarks(measurement), *footprint]


def answer(measurement: Measurement, name: str = "") -> str:
    """What a window took, how that is known, and how far it may be off, in one line.

    ``148 J ± 3.0 J (0.0411 Wh), 11.0 mg CO2e, 38.0 s; measured``, or
    ``About 148 J (0.0411 Wh), 11.0 mg CO2e, 38.0 s; estimated, could be 7.00 to 289 J``.

    Args:
        measurement: of the window.
        name: of what was measured; default: the label.
    """
    label = textwrap.shorten(name or measurement.label, LONGEST_LABEL, placeholder=" ...")
    said = amount_said(measurement)
    return f"{label}: {said}" if label else f"{said[0].upper()}{said[1:]}"


def amount_said(measurement: Measurement) -> str:
    """The same within a sentence: ``about 148 J (0.0411 Wh), 38.0 s; estimated, could be ...``."""
    total, duration = measurement.total, formats.duration(measurement.duration_s)
    if len(measurement.nodes) > 1:
        duration += f", {len(measurement.nodes)} nodes"
    if total.gross_j is None:
        return f"energy unknown, {duration}"
    sure = total.status in (Status.MEASURED, Status.REPLAYED)
    error_j = total.error_j
    amount = formats.joules(total.gross_j)
    if sure and error_j is not None:
        amount += f" ± {formats.joules(error_j)}"
    if total.gross_j >= LEAST_IN_HOURS_J:
        amount += f" ({formats.watt_hours(total.gross_j)})"
    parts = [amount]
    if measurement.co2e_g is not None:
        parts.append(f"{formats.grams(measurement.co2e_g)} CO2e")
    said = f"{'' if sure else 'about '}{', '.join([*parts, duration])}; {total.status}"
    if not sure and error_j is not None:
        low_j = max(0.0, total.gross_j - error_j)
        said += f", could be {formats.joules_range(low_j, total.gross_j + error_j)}"
    return said


def node_table(measurement: Measurement) -> list[Part]:
    """A row for each node, if there are several.

    Args:
        measurement: of one window.
    """
    if len(measurement.nodes) < BOTH:
        return []
    rows = [
        {
            "node": node.name,
            "ranks": node.ranks,
            "duration": formats.DASH
            if node.duration_s is None
            else formats.duration(node.duration_s),
            "gross_j": node.energy_j,
            "error_j": node.error_j,
            "status": str(node.status),
        }
        for node in measurement.nodes
    ]
    columns = [
        words("node"),
        Column("ranks", "ranks"),
        Column("duration", "duration"),
        Column("energy", "gross_j", units=formats.ENERGY),
        Column("±", "error_j", units=formats.ENERGY),
        words("status"),
    ]
    return [Table(rows, columns)]


def measurement_table(measurement: Measurement) -> Table:
    """A row for each domain and for each other instrument that reads one, and their sum.

    Args:
        measurement: of one window.
    """
    total, footprint = measurement.total, measurement.footprint
    known = footprint is not None and footprint.grams is not None and total.gross_j
    grams_in_joule = (footprint.grams or 0.0) / (total.gross_j or 1.0) if footprint else 0.0
    rows = [_row(one, grams_in_joule if known else None) for one in measurement.readings]
    several = len(rows) > 1 and bool(total.domains)
    rows += [_row(one, None) for one in measurement.others]
    whole = _row_of_sum(measurement, total)
    energies = zip(("gross", "±", "idle", "net"), _OF_BOTH, strict=False)
    columns = [
        words("domain"),
        *(Column(heading, name, units=formats.ENERGY) for heading, name in energies),
    ]
    # Show the bound of net energy if there is net energy.
    if any(row["net_error_j"] is not None for row in (*rows, whole)):
        columns.append(Column("net ±", "net_error_j", units=formats.ENERGY))
    columns += [Column("mean (W)", "mean_power_w", _watts), Column("peak (W)", "peak_w", _watts)]
    if footprint is not None:
        columns.append(Column("CO2e", "co2e_g", units=formats.MASS))
    columns.append(words("source, status", ("source", "status"), form=_origin))
    return Table(rows, columns, title=_heading(measurement), total=whole if several else None)


def measurement_remarks(measurement: Measurement) -> list[Part]:
    """What is missing, flagged, or not in the sum.

    Args:
        measurement: of one window.
    """
    counted = measurement.total.domains
    doubts = [
        f"{reading.domain}: {reading.reason}"
        for reading in measurement.readings
        if reading.status is Status.MISSING or reading.lost_s
    ]
    notes = []
    for reading in measurement.readings:
        if reading.gross_j is not None and reading.domain not in counted:
            within = [domain for domain in reading.within if domain in counted]
            why = f"is within {within[0]}" if within else "does not count"
            notes.append(f"{reading.domain} {why}: it is not in the sum")
    for reading in measurement.others:
        reason = "for comparison only, not in the sum"
        if reading.gross_j is None:
            reason = reading.reason.removeprefix(f"{reading.source}: ")
        notes.append(f"{reading.domain} of {reading.source}: {reason}")
    notes += [
        f"{node.name}: {node.reason}"
        for node in measurement.nodes
        if node.reason and node.duration_s is not None
    ]
    flags = [f"note: {flag}" for flag in measurement.flags]
    return [*map(Remark, doubts), *notes, *map(Remark, flags)]


def measurement_data(measurement: Measurement) -> dict[str, Any]:
    """A measurement as plain data with derived values: net energy, mean power, the sum.

    Args:
        measurement: of one window.
    """
    whole, total = measurement.to_dict(), measurement.total
    readings, others = (
        [{**one.to_dict(), **_values(one, (*_DERIVED, "mean_power_w"))} for one in some]
        for some in (measurement.readings, measurement.others)
    )
    return {
        **whole,
        "readings": readings,
        "others": others,
        "total": {
            "domains": list(total.domains),
            "status": str(total.status),
            **_values(total, ("gross_j", "error_j", *_DERIVED)),
        },
        "co2e_g": measurement.co2e_g,
    }


def _values(of: Reading | Total, names: Sequence[str]) -> dict[str, Any]:
    return {name: getattr(of, name) for name in names}


def _heading(measurement: Measurement) -> str:
    """How often it was read: ``124 samples, longest gap 0.10 s``."""
    samples = formats.count(measurement.samples, "sample")
    return f"{samples}, longest gap {formats.duration(measurement.longest_gap_s)}"


def _row(reading: Reading, grams_in_joule: float | None) -> dict[str, Any]:
    grams = None
    if grams_in_joule is not None and reading.gross_j is not None:
        grams = reading.gross_j * grams_in_joule
    return {
        "domain": reading.domain,
        **_values(reading, (*_OF_BOTH, "mean_power_w")),
        "peak_w": reading.peak_power_w,
        "co2e_g": grams,
        "status": str(reading.status),
        "source": "" if reading.source == "none" else reading.source,
    }


def _row_of_sum(measurement: Measurement, total: Total) -> dict[str, Any]:
    several = len(measurement.nodes) > 1
    return {
        "domain": "all nodes" if several else " + ".join(total.domains),
        **_values(total, _OF_BOTH),
        "mean_power_w": measurement.mean_power_w,
        # The domains need not peak at the same moment.
        "peak_w": None,
        "co2e_g": measurement.co2e_g,
        "status": str(total.status),
        "source": "",
    }


def _watts(power_w: float | None) -> str:
    return formats.at_scale(power_w, 1.0)


def _origin(source: str, status: str) -> str:
    return f"{source}, {status}" if source else status
