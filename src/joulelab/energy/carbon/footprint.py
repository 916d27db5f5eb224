"""Carbon dioxide equivalent of measured energy.

::

    grams = energy (J) / 3.6e6 J/kWh * PUE * intensity (g/kWh)

Carbon intensity comes from codecarbon's tables for a place, from a number given by the user, or
from a series over time in a CSV file. The steps of a series are weighted by the energy used in
them. PUE, power usage effectiveness, is the energy of the data centre divided by the energy of its
computers, at least 1.

The grams are for the electricity used, at average intensity. They exclude the manufacture of
devices, and they are not marginal (the effect of one more training). The error bound covers the
energy only; the tables state none for intensity. No network access.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from typing import Any

from joulelab import formats
from joulelab.energy.carbon.intensity import Intensity, IntensitySeries, Profile, mean_intensity
from joulelab.energy.carbon.places import FORMS, intensity_of_place
from joulelab.errors import SettingsError, UsageError, suggestion
from joulelab.settings import load_settings, settings_path

JOULES_IN_KWH = 3.6e6
VARIABLE = "JOULELAB_CARBON"
GIVEN = "given by the user"
SERIES = (".csv", ".tsv", ".txt", ".json", ".parquet")
"""Suffixes of files that hold intensity over time."""
TIMEZONE = "?timezone="

_NUMBER = re.compile(
    r"([-+]?(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?)\s*(?:(k?g)\s*(?:co2)?\s*-?(?:eq?)?\s*/\s*kwh)?", re.I
)
_SETTINGS = ("place", "pue")


@dataclass(frozen=True)
class Footprint:
    """The carbon dioxide equivalent of an energy.

    Attributes:
        grams: of CO2 equivalent, or ``None`` where the energy or the intensity is unknown.
        error_g: bound of the absolute error of `grams` due to the energy only, or ``None``.
        g_per_kwh: the intensity, for a series the energy-weighted mean, or ``None``.
        pue: power usage effectiveness.
        place: the place of the intensity, in words.
        source: where it is from, in words.
        year: the year of the data; ``None`` if not stated.
        remark: what the intensity includes, and how it was applied.
        reason: why `grams` is ``None``.
    """

    grams: float | None
    error_g: float | None
    g_per_kwh: float | None
    pue: float
    place: str
    source: str
    year: int | None = None
    remark: str = ""
    reason: str = ""

    def __str__(self) -> str:
        """``1.24 g CO2e (Netherlands, 2023: 268 g/kWh, PUE 1.2; codecarbon ...)``."""
        if self.grams is None:
            return f"CO2e unknown: {self.reason}"
        return f"{formats.grams(self.grams)} CO2e ({self.basis})"

    @property
    def basis(self) -> str:
        """What the grams are computed from: ``Netherlands, 2023: 268 g/kWh, PUE 1.2; ...``."""
        where = self.place if self.year is None else f"{self.place}, {self.year}"
        intensity = f"{formats.significant(self.g_per_kwh)} g/kWh"
        factors = f"{where}: {intensity}" if where else intensity
        return f"{factors}, PUE {round(self.pue, 3)}; {self.source}"

    def to_dict(self) -> dict[str, Any]:
        """Plain data, as the store keeps it."""
        return asdict(self)

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Footprint:
        """The inverse of `to_dict`."""
        return cls(**data)


def carbon_intensity(where: float | str | Path) -> Intensity | IntensitySeries:
    """The carbon intensity for a user's input.

    Args:
        where: a number in g/kWh; a text with a number (``"412"``, ``"0.412 kg/kWh"``); a place as
            for `intensity_of_place`; a file of intensity over time as for `read_intensity`, by a
            `Path` or a text that ends in one of `SERIES`, or so and the time zone of times without
            an offset: ``grid.csv?timezone=Europe/Berlin``.

    Raises:
        UsageError: it is none of these, or the tables have no number for the place.
        MissingDependencyError: a place was named, but codecarbon is not installed.
    """
    if isinstance(where, bool):
        raise UsageError(f"{where} is not a carbon intensity", FORMS)
    if isinstance(where, int | float):
        return _given(float(where), has_unit=False)
    text = str(where).strip()
    if isinstance(where, Path) or names_series(text):
        from joulelab.energy.carbon.intensity_file import read_intensity  # needs numpy

        file, _, zone = text.partition(TIMEZONE)
        return read_intensity(Path(file).expanduser(), _zone(zone))
    number = _NUMBER.fullmatch(text.replace("\N{SUBSCRIPT TWO}", "2"))
    if number is not None:
        factor = 1000.0 if (number[2] or "").casefold() == "kg" else 1.0
        return _given(float(number[1]) * factor, has_unit=number[2] is not None)
    if re.match(r"[-+.]?\d", text):
        raise UsageError(f"{text!r} is not a carbon intensity", "write it in g/kWh: 412 g/kWh")
    return intensity_of_place(text)


def names_series(place: object) -> bool:
    """Whether a place names a file with intensity over time.

    >>> names_series("grid.csv"), names_series("grid.json?timezone=CET"), names_series("NLD")
    (True, True, False)
    """
    return isinstance(place, str) and place.partition(TIMEZONE)[0].casefold().endswith(SERIES)


def in_zone(place: str | None, zone: str | None) -> str | None:
    """A place whose file has times without an offset, with the time zone added.

    Args:
        place: as for `carbon_intensity`; ``None`` for the place in the settings.
        zone: as for `joulelab.tabular.local_time.read_zone`; ``None`` changes nothing.

    Raises:
        UsageError: the place is not a file, or the zone is unknown.
    """
    if zone is None:
        return place
    _zone(zone)
    place = str(default_place() or "") if place is None else place
    if not names_series(place):
        raise UsageError(
            f"--timezone {zone} needs a file with carbon intensity over time",
            "name it: --place grid.csv",
        )
    return place.partition(TIMEZONE)[0] + TIMEZONE + zone


def footprint(
    energy_j: float | None,
    error_j: float | None,
    started_at: float | None,
    duration_s: float,
    intensity: Intensity | IntensitySeries,
    pue: float = 1.0,
    profile: Profile | None = None,
) -> Footprint:
    """The carbon dioxide equivalent of an energy.

    Args:
        energy_j: joules, or ``None`` where unknown.
        error_j: bound of the absolute error of `energy_j` in joules, or ``None``.
        started_at: when the window opened, seconds since the epoch; a constant needs none.
        duration_s: length of the window in seconds.
        intensity: constant or over time.
        pue: power usage effectiveness.
        profile: as for `mean_intensity`.

    Raises:
        UsageError: `pue` is below 1 or not finite.
    """
    pue = checked_pue(pue)
    g_per_kwh, reason = mean_intensity(intensity, started_at, duration_s, profile)
    if energy_j is None:
        reason = "the energy is unknown"
    grams = error_g = None
    if energy_j is not None and g_per_kwh is not None:
        grams = energy_j / JOULES_IN_KWH * pue * g_per_kwh
        error_g = None if error_j is None else error_j / JOULES_IN_KWH * pue * g_per_kwh
    year, remark, source = None, intensity.remark, intensity.source
    if isinstance(intensity, Intensity):
        year = intensity.year
    else:
        year = None if started_at is None else datetime.fromtimestamp(started_at, UTC).year
        source += _estimated(intensity, started_at, duration_s)
        spread = "energy spread evenly over the window" if profile is None else ""
        remark = "; ".join(part for part in (remark, spread) if part)
    return Footprint(grams, error_g, g_per_kwh, pue, intensity.place, source, year, remark, reason)


def _zone(text: str) -> tzinfo | None:
    from joulelab.tabular.local_time import read_zone  # needs numpy

    return read_zone(text) if text else None


def _estimated(series: IntensitySeries, started_at: float | None, duration_s: float) -> str:
    """The share of a window whose intensity is an estimate of the source, in words."""
    if started_at is None:
        return ""
    share = series.estimated_share(started_at, started_at + duration_s)
    return f", estimated there for {formats.share(share)} of the window" if share else ""


def checked_pue(pue: float) -> float:
    """Check and return a power usage effectiveness.

    Raises:
        UsageError: it is below 1 or not finite.
    """
    if not (math.isfinite(pue) and pue >= 1):
        raise UsageError(
            f"a PUE of {pue:g} is not possible",
            "PUE is the energy of the data centre divided by the energy of its computers: 1 or "
            "more",
        )
    return float(pue)


def default_place() -> float | str | None:
    """The place in the user's settings, for `carbon_intensity`; ``None`` if not set.

    The environment variable `JOULELAB_CARBON` overrides ``place`` in the table ``[carbon]`` of the
    settings file. A relative path of a CSV file is relative to the folder of the settings file.

    Raises:
        SettingsError: the table has a mistake.
    """
    if named := os.environ.get(VARIABLE, "").strip():
        return named
    place = _settings().get("place")
    if isinstance(place, str) and names_series(place):
        return str(settings_path().parent / Path(place).expanduser())
    return place


def default_pue() -> float:
    """``pue`` in the table ``[carbon]`` of the settings file, else 1.

    Raises:
        SettingsError: the table has a mistake.
    """
    return float(_settings().get("pue", 1.0))


def _settings() -> Mapping[str, Any]:
    table: Mapping[str, Any] = load_settings().get("carbon", {})
    where = f"{settings_path()}: [carbon]"
    for name, value in table.items():
        if name not in _SETTINGS:
            raise SettingsError(f"{where} has no setting {name!r}", suggestion(name, _SETTINGS))
        kinds = (int, float, str) if name == "place" else (int, float)
        if isinstance(value, bool) or not isinstance(value, kinds):
            raise SettingsError(f"{where} {name} cannot be {value!r}", 'write "NLD", 412 or 1.2')
    if "pue" in table:
        try:
            checked_pue(table["pue"])
        except UsageError as error:
            raise SettingsError(f"{where} {error.message}", error.hint) from error
    return table


def _given(g_per_kwh: float, *, has_unit: bool) -> Intensity:
    if 0 < g_per_kwh < 1 and not has_unit:
        raise UsageError(
            f"{g_per_kwh:g} g/kWh is less than that of any grid",
            f"write {g_per_kwh:g} kg/kWh; if you do mean it, {g_per_kwh:g} g/kWh",
        )
    return Intensity(g_per_kwh, "", GIVEN)
