"""Which row of codecarbon's tables a place is, however it is written.

Where codecarbon would take the average of the world, or of the country, for a place that it has no
figure for, there is an error here instead.
"""

from __future__ import annotations

import difflib
import unicodedata
from collections.abc import Sequence
from typing import Any

from joulelab.energy.carbon.intensity import Intensity
from joulelab.energy.carbon.tables import Region, cloud_regions, countries, regions
from joulelab.errors import MissingDependencyError, UnknownNameError, UsageError

FORMS = (
    "write a country (NLD, Netherlands), a region (USA-CA), a cloud region (gcp:europe-west4), a "
    "number (412 g/kWh) or a file over time (intensity.csv)"
)
_ALSO_CALLED = {"uk": "GBR", "great britain": "GBR", "holland": "NLD"}
_WITH_ZONES = ("SWE", "NOR")


def intensity_of_place(place: str) -> Intensity:
    """The carbon intensity of a place.

    Args:
        place: a country by its ISO 3166 code (``"NLD"``, ``"NL"``) or name; a part of the USA,
            Canada, China, Sweden, Norway or Finland as ``"USA-CA"`` or ``"USA/California"``; a
            Nordic bidding zone (``"SE3"``); a cloud region as ``"gcp:europe-west4"``.

    Raises:
        MissingDependencyError: codecarbon is not installed.
        UnknownNameError: there is no such place.
        UsageError: the tables have no figure for this place.
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
        raise _no_figure(f"the parts of {_country_name(country)}", f"take the country, {country}")
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
            "take the country or region in which the data centre stands, for instance IRL",
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
        # Emissions are rounded to 10,000 t a year there: those of a small clean grid become 0.
        raise _no_figure(f"{place}, only a 0")
    return region.intensity


def _country_code(name: str) -> str | None:
    """The code of three letters of a country, whether or not there is a figure for it."""
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
            "pip install pycountry, or write the country with three letters: NLD",
        ) from error
    return pycountry
