"""An instrument of a study: the sum of what one source, or several, read of some domains.

::

    readings of a run           instruments of their own        a sum of the user's

    gpu:0   nvml-counter        nvml        = gpu:0             sensors=nvml+rapl
    cpu:0   rapl                rapl        = cpu:0                = gpu:0 + cpu:0
    core:0  rapl
    cpu:0   codecarbon          codecarbon  = cpu:0 + dram:0
    dram:0  codecarbon
    wall    shelly-power        shelly      = wall

A source's counter and power are one source. Of its domains those count that it reads in every run
that it reads at all, and that no other of them contains (``core:0`` is a part of ``cpu:0``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import pandas as pd

from joulelab import formats
from joulelab.energy.reading import Status, instrument_of
from joulelab.errors import UnknownNameError, UsageError

SUMS = {"cpus": "cpu:", "gpus": "gpu:"}
"""Domains that are sums, and how the names of their parts begin."""
WHOLE, PLATFORM = "wall", "psys"
RANKS = ("measured", "partly estimated", "estimated")
NO_SOURCE = ("", "none")


@dataclass(frozen=True)
class Instrument:
    """What is added up as the energy of one instrument.

    Attributes:
        name: of the source, or as the user calls the sum.
        parts: source and domain of everything that is added up.
        covers: the domains, sums such as ``cpus`` taken apart where that is known.
        status: measured, estimated or partly estimated.
        calibration: by what the energy of a domain has been multiplied already, where by any.
    """

    name: str
    parts: tuple[tuple[str, str], ...]
    covers: frozenset[str]
    status: str
    calibration: Mapping[str, float]

    @property
    def sources(self) -> tuple[str, ...]:
        """By which means, each once."""
        return tuple(dict.fromkeys(source for source, _ in self.parts))

    @property
    def domains(self) -> tuple[str, ...]:
        """What is added up, each once."""
        return tuple(dict.fromkeys(domain for _, domain in self.parts))

    @property
    def rank(self) -> tuple[int, int]:
        """How much it sees, the most first: the wall, the platform, what is measured, the rest."""
        families = {_family(domain) for domain in self.domains}
        if WHOLE in families:
            return (0, 0)
        if PLATFORM in families:
            return (1, 0)
        return (2 + RANKS.index(self.status) if self.status in RANKS else 5, -len(self.covers))


def instruments_of(
    readings: pd.DataFrame,
    sums: Mapping[str, Sequence[str]],
    domains: Sequence[str] | None,
    calibrations: Mapping[tuple[str, str], float],
) -> list[Instrument]:
    """Every source as an instrument, and the sums that the user has named.

    Args:
        readings: one row per run, domain and instrument, with ``instrument``.
        sums: sources by the name of their sum.
        domains: only these; ``None`` for all.
        calibrations: factor by source and domain.

    Raises:
        UnknownNameError: a sum names a source that has read nothing.
        UsageError: a sum would count a joule twice.
    """
    known = readings[~readings["instrument"].isin(NO_SOURCE)]
    if domains is not None:
        known = known[known["domain"].isin(list(domains))]
    within = {
        (source, domain): set(text.split("+")) - {""}
        for source, domain, text in known.drop_duplicates(["instrument", "domain"])[
            ["instrument", "domain", "within"]
        ].itertuples(index=False)
    }
    parts = {source: _own_parts(source, rows, within) for source, rows in _by_source(known)}
    parts = {source: own for source, own in parts.items() if own}
    for source in (source for named in sums.values() for source in named):
        if source not in parts:
            raise UnknownNameError("source of these runs", source, sorted(parts))
    wanted = {source: list(own) for source, own in parts.items()}
    for name, named in sums.items():
        wanted[name] = [part for source in dict.fromkeys(named) for part in parts[source]]
        _check_disjoint(name, wanted[name], within)
    statuses = {
        (source, domain): set(rows["status"])
        for (source, domain), rows in known.groupby(["instrument", "domain"], sort=False)
    }
    return [
        Instrument(
            name,
            tuple(own),
            frozenset(one for part in own for one in _covered(part[1], within[part])),
            Status.of_set(status for part in own for status in statuses[part]),
            {
                domain: calibrations[source, domain]
                for source, domain in own
                if calibrations.get((source, domain), 1.0) != 1.0
            },
        )
        for name, own in wanted.items()
    ]


def chosen_reference(
    instruments: Sequence[Instrument], name: str | None = None
) -> tuple[Instrument, str]:
    """What the others are held against, and why.

    Args:
        instruments: at least one.
        name: as the user has named it; the one that sees most where not given.

    Raises:
        UnknownNameError: there is no instrument of that name.
    """
    if name is not None:
        for one in instruments:
            if one.name == name:
                return one, "as it was named"
        raise UnknownNameError("instrument", name, [one.name for one in instruments])
    best = min(instruments, key=lambda one: one.rank)
    why = {0: "it reads the wall: the whole machine", 1: "it reads the platform"}.get(best.rank[0])
    if why is None:
        same = [one for one in instruments if one.rank == best.rank]
        told = f"{best.status}, and no other reads more"
        why = told if len(same) == 1 else f"{told}; {formats.listing([o.name for o in same])} do"
    return best, why


def not_alike(those: Sequence[Instrument], reference: Instrument) -> str:
    """That instruments do not read the same parts of the machine, in a sentence."""
    named = [f"{one.name} ({' + '.join(one.domains)})" for one in those]
    verb = "reads" if len(named) == 1 else "read"
    return (
        f"{formats.listing(named)} {verb} other parts of the machine than {reference.name} "
        f"({' + '.join(reference.domains)}): the difference is also what only one of the two sees, "
        "and a factor between them is right for this machine and this kind of work alone."
    )


def with_instrument(readings: pd.DataFrame) -> pd.DataFrame:
    """Readings with the instrument that each source belongs to; old frames lack some columns."""
    sources = readings["source"].fillna("").astype(str)
    named = {source: instrument_of(source) for source in sources.unique()}
    return readings.assign(
        instrument=sources.map(named),
        within=readings["within"].fillna("") if "within" in readings else "",
        lost_s=readings["lost_s"].astype(float) if "lost_s" in readings else 0.0,
    )


def _by_source(known: pd.DataFrame) -> Iterable[tuple[str, pd.DataFrame]]:
    return ((str(source), rows) for source, rows in known.groupby("instrument", sort=False))


def _own_parts(
    source: str, rows: pd.DataFrame, within: Mapping[tuple[str, str], set[str]]
) -> list[tuple[str, str]]:
    """What one source reads in all of its runs, without what lies within another of it."""
    runs = rows["run_id"].nunique()
    counts = rows.groupby("domain", sort=False)["run_id"].nunique()
    always = [str(domain) for domain, count in counts.items() if count == runs]
    return [(source, domain) for domain in always if not within[source, domain] & set(always)]


def _check_disjoint(
    name: str, parts: Sequence[tuple[str, str]], within: Mapping[tuple[str, str], set[str]]
) -> None:
    reader: dict[str, str] = {}
    for part in parts:
        source, domain = part
        for covered in _covered(domain, within[part]):
            if covered in reader:
                raise UsageError(
                    f"{name}: {reader[covered]} and {source} both read {covered}, which would "
                    "count twice",
                    "name other sources, or with --domain the domains that count",
                )
            reader[covered] = source
    for source, domain in parts:
        outer = within[source, domain] & set(reader)
        if outer and not set(_covered(domain, within[source, domain])) & outer:
            container = sorted(outer)[0]
            raise UsageError(
                f"{name}: {domain} of {source} lies within {container} of {reader[container]}, and "
                "would count twice",
                "name other sources, or with --domain the domains that count",
            )


def _covered(domain: str, within: set[str]) -> tuple[str, ...]:
    """A domain; a sum by its parts, which are among those that it is said to lie within."""
    begin = SUMS.get(domain)
    parts = sorted(one for one in within if begin and one.startswith(begin))
    return tuple(parts) or (domain,)


def _family(domain: str) -> str:
    return domain.partition(":")[0]
