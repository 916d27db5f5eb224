"""The carbon intensity of a place, from codecarbon's tables.

Only the files of the installed package are read: importing codecarbon is slow. No network access.
The tables differ in units and in what they count:

=============  ===================  ==========================================================
places         unit in the table    what is counted
=============  ===================  ==========================================================
countries      g CO2e/kWh           life cycle (Our World in Data, from Ember)
US states      lb CO2e/MWh          direct emissions of power stations (EPA eGRID)
Canada         percent of the mix   burning coal, oil and gas, by codecarbon's factors
China          g CO2/kWh            carbon dioxide only (Ministry of Ecology and Environment)
Nordic zones   g CO2e/kWh           electricity generated in the zone (ENTSO-E)
cloud regions  g CO2e/kWh           as the provider says
=============  ===================  ==========================================================

For a place without a number, codecarbon uses the world's or the country's average; this module
raises an error.
"""

from __future__ import annotations

import csv
import difflib
import importlib.metadata
import importlib.util
import json
import unicodedata
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from joulelab.energy.carbon.intensity import Intensity
from joulelab.errors import MissingDependencyError, UnknownNameError, UsageError

FORMS = (
    "write a country (NLD, Netherlands), a region (USA-CA), a cloud region (gcp:europe-west4), a "
    "number (412 g/kWh) or a file over time (intensity.csv)"
)
_ALSO_CALLED = {"uk": "GBR", "great britain": "GBR", "holland": "NLD"}
_WITH_ZONES = ("SWE", "NOR")
GRAMS_IN_POUND = 453.59237
KWH_IN_MWH = 1000.0
# Factors from codecarbon's code for the energy mix of a Canadian province.
FUEL_G_PER_KWH = {"coal": 995.725971, "petroleum": 816.6885263, "naturalGas": 743.8415916}
_PROVINCES = {
    "alberta": "AB",
    "british columbia": "BC",
    "manitoba": "MB",
    "new brunswick": "NB",
    "newfoundland and labrador": "NL",
    "northwest territories": "NT",
    "nova scotia": "NS",
    "nunavut": "NU",
    "ontario": "ON",
    "prince edward island": "PE",
    "quebec": "QC",
    "saskatchewan": "SK",
    "yukon": "YT",
}
_ZONES = {"SWE": "SE", "NOR": "NO", "FIN": "FI"}


def intensity_of_place(place: str) -> Intensity:
    """The carbon intensity of a place.

    Args:
        place: a country by its ISO 3166 code (``"NLD"``, ``"NL"``) or name; a part of the USA,
            Canada, China, Sweden, Norway or Finland as ``"USA-CA"`` or ``"USA/California"``; a
            Nordic bidding zone (``"SE3"``); a cloud region as ``"gcp:europe-west4"``.

    Raises:
        MissingDependencyError: codecarbon is not installed.
        UnknownNameError: the place is unknown.
        UsageError: the tables have no number for this place.
    """
    name = place.strip()
    if ":" in name:
        return _cloud(name)
    if (country := _country_code(name)) is not None:
        return _country(country)
    for country in _WITH_ZONES:
        if (zone := _among(regions(country), name)) is not None:
            return zone.intensity
    for mark in "/-":
        before, found, after = name.partition(mark)
        if found and (country := _country_code(before)) is not None:
            return _region(country, after)
    raise _unknown(place)


def _country(code: str) -> Intensity:
    country = countries().get(code)
    if country is None:
        raise _no_figure(f"{_country_name(code)} ({code})")
    return _figure(country, f"{_country_name(code)} ({code})")


def _region(country: str, name: str) -> Intensity:
    known = regions(country)
    if not known:
        raise _no_figure(f"the parts of {_country_name(country)}", f"use the country, {country}")
    region = _among(known, name)
    if region is None:
        noun = f"part of {_country_name(country)}"
        raise UnknownNameError(noun, name, (region.names[0] for region in known))
    return _figure(region, region.intensity.place)


def _cloud(place: str) -> Intensity:
    provider, _, name = (part.strip() for part in place.casefold().partition(":"))
    known = cloud_regions()
    if provider not in known:
        raise _no_figure(
            f"the cloud {provider!r}, only for {', '.join(sorted(known))}",
            "use the country or region of the data centre, for instance IRL",
        )
    region = _among(known[provider], name)
    if region is None:
        noun = f"region of {provider}"
        raise UnknownNameError(noun, name, (region.names[0] for region in known[provider]))
    return _figure(region, region.intensity.place)


def _among(known: Sequence[Region], name: str) -> Region | None:
    wanted = _fold(name)
    return next((one for one in known if wanted in map(_fold, one.names)), None)


def _figure(region: Region, place: str) -> Intensity:
    if region.intensity.g_per_kwh <= 0:
        # The table rounds emissions to 10,000 t a year: a small clean grid becomes 0.
        raise _no_figure(f"{place}, only a 0")
    return region.intensity


def _country_code(name: str) -> str | None:
    """The three-letter code of a country, whether or not there is a number for it."""
    known = countries()
    if name.upper() in known:
        return name.upper()
    wanted = _fold(name)
    for code, country in known.items():
        if _fold(country.names[0]) == wanted:
            return code
    if wanted in _ALSO_CALLED:
        return _ALSO_CALLED[wanted]
    try:
        return str(_pycountry().countries.lookup(name).alpha_3)
    except LookupError:
        return None


def _country_name(code: str) -> str:
    known = countries()
    return known[code].names[0] if code in known else _pycountry().countries.get(alpha_3=code).name


def _fold(name: str) -> str:
    """Without accents, capitals, hyphens and underscores."""
    letters = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    return " ".join(letters.casefold().replace("-", " ").replace("_", " ").split())


def _unknown(place: str) -> UnknownNameError:
    names = [name for country in countries().values() for name in country.names]
    folded = {name.casefold(): name for name in names}
    near = difflib.get_close_matches(place.strip().casefold(), folded, n=1)
    error = UnknownNameError("place", place, (folded[name] for name in near))
    error.hint = error.hint or FORMS
    return error


def _no_figure(what: str, hint: str = "give a number in g/kWh, or another place") -> UsageError:
    return UsageError(f"codecarbon's tables have no figure for {what}", hint)


def _pycountry() -> Any:  # noqa: ANN401 - a module without types
    try:
        import pycountry  # takes 0.1 s and is seldom needed
    except ImportError as error:
        raise MissingDependencyError(
            "names of countries come from pycountry, which is not installed",
            "pip install pycountry, or use the three-letter code: NLD",
        ) from error
    return pycountry


@dataclass(frozen=True)
class Region:
    """A part of a country, or a region of a cloud.

    Attributes:
        names: accepted names, the display name first.
        intensity: as in the table, where 0 means no number.
    """

    names: tuple[str, ...]
    intensity: Intensity


def countries() -> dict[str, Region]:
    """All countries of the table, by three-letter ISO 3166 code.

    Raises:
        MissingDependencyError: codecarbon is not installed, or without this table.
    """
    source = _source("Our World in Data")
    return {
        code: _of_row(
            (row["country_name"], code),
            row.get("carbon_intensity") or 0.0,
            row["country_name"],
            source,
            row["year"],
            "life cycle, of the electricity generated there",
        )
        for code, row in _json(_private() / "global_energy_mix.json").items()
    }


def regions(country: str) -> Sequence[Region]:
    """The parts of a country with their own numbers; none for most countries.

    Args:
        country: three-letter ISO 3166 code.

    Raises:
        MissingDependencyError: codecarbon is not installed, or without this table.
        UsageError: the unit of the table has changed.
    """
    return list(_REGIONS[country](country)) if country in _REGIONS else []


def cloud_regions() -> dict[str, list[Region]]:
    """The regions of each cloud provider that the table knows.

    Raises:
        MissingDependencyError: codecarbon is not installed, or without this table.
    """
    path = _found(_data() / "cloud" / "impact.csv")
    providers: dict[str, list[Region]] = {}
    with path.open(encoding="utf-8-sig", newline="") as file:
        for row in csv.DictReader(file):
            # The table misspells me-central1 as me-cenrtal1.
            name = row["region"].replace("cenrtal", "central")
            place = f"{row['provider']}:{name} ({row['city']})"
            source = _source(f"{row['providerName']}, {row['source']}")
            region = _of_row((name,), row["impact"], place, source)
            providers.setdefault(row["provider"], []).append(region)
    return providers


def _of_row(
    names: tuple[str, ...],
    g_per_kwh: float | str,
    place: str,
    source: str,
    year: int | str | None = None,
    remark: str = "",
) -> Region:
    """A row of a table: its names, and the attributes of its `Intensity`."""
    dated = None if year is None else int(year)
    return Region(names, Intensity(float(g_per_kwh), place, source, dated, remark))


def _states(_: str) -> Iterator[Region]:
    path = _newest("usa_emissions.json")
    table = _json(path)
    _check_unit(path, table.get("_unit", {}).get("emissions"), "lbs/MWh")
    stated = table.get("_source", {})
    source = _source(stated.get("name", "US states"))
    year = int(stated.get("year", path.parent.name))
    for key, row in table.items():
        if key.startswith("_") or key == "usa":
            continue
        name = key.title().replace(" Of ", " of ")
        yield _of_row(
            (name, row["regionCode"]),
            row["emissions"] * GRAMS_IN_POUND / KWH_IN_MWH,
            f"{name}, USA",
            source,
            year,
            "direct emissions of the power stations, not life cycle",
        )


def _provinces(_: str) -> Iterator[Region]:
    path = _newest("canada_energy_mix.json")
    for key, row in _json(path).items():
        name = key.title().replace(" And ", " and ")
        yield _of_row(
            (name, _PROVINCES.get(key, key)),
            sum(row[fuel] * grams for fuel, grams in FUEL_G_PER_KWH.items()) / row["total"],
            f"{name}, Canada",
            _source("energy mix of Canadian provinces"),
            path.parent.name,  # the table has no year
            "combustion of coal, oil and gas, not life cycle",
        )


def _chinese_provinces(_: str) -> Iterator[Region]:
    path = _newest("china_provincial_emissions.json")
    for code, row in _json(path)["data"].items():
        _check_unit(path, row.get("unit"), "gCO2/kWh")
        name = row["description"]
        yield _of_row(
            (name, code.partition("-")[2], *row["names"]),
            row["emission_factor"],
            f"{name}, China",
            _source("Ministry of Ecology and Environment of China"),
            row["year"],
            "carbon dioxide only, not life cycle",
        )


def _zones(country: str) -> Iterator[Region]:
    path = _private() / "nordic_emissions.json"
    for zone, row in _json(path)["data"].items():
        if not zone.startswith(_ZONES[country]):
            continue
        _check_unit(path, row.get("unit"), "gCO2eq/kWh")
        coverage = row.get("coverage")
        remark = "of the electricity generated in the zone"
        yield _of_row(
            (zone,),
            row["emission_factor"],
            f"bidding zone {zone}",
            _source(f"Nordic bidding zones, {'ENTSO-E' if coverage else 'origin not stated'}"),
            row["year"],
            f"{remark}; share with a figure: {coverage}" if coverage else remark,
        )


_REGIONS: dict[str, Callable[[str], Iterator[Region]]] = {
    "USA": _states,
    "CAN": _provinces,
    "CHN": _chinese_provinces,
    "SWE": _zones,
    "NOR": _zones,
    "FIN": _zones,
}


@cache  # it reads a file, and a table has a hundred rows
def _source(table: str) -> str:
    return f"codecarbon {importlib.metadata.version('codecarbon')}, {table}"


def _data() -> Path:
    package = importlib.util.find_spec("codecarbon")
    if package is None or package.origin is None:
        raise MissingDependencyError(
            "the carbon intensity of a place needs codecarbon, which is not installed",
            "pip install codecarbon, or give a number in g/kWh",
        )
    return Path(package.origin).parent / "data"


def _private() -> Path:
    return _data() / "private_infra"


def _newest(name: str) -> Path:
    """A table in a folder named after its year."""
    found = sorted(_private().glob(f"[0-9][0-9][0-9][0-9]/{name}"))
    return found[-1] if found else _private() / name


def _found(path: Path) -> Path:
    if not path.is_file():
        raise MissingDependencyError(
            f"the installed codecarbon has no table {path.name}", "pip install -U codecarbon"
        )
    return path


@lru_cache
def _json(path: Path) -> dict[str, Any]:
    table: dict[str, Any] = json.loads(_found(path).read_text("utf-8"))
    return table


def _check_unit(path: Path, unit: object, expected: str) -> None:
    """Another version of the table may have a different unit: refuse it."""
    if unit != expected:
        raise UsageError(
            f"{path.name} of the installed codecarbon is in {unit!r}, not in {expected}",
            "give a number in g/kWh",
        )
