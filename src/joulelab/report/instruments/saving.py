"""From the agreement of instruments to factors that the settings file keeps.

::

    new factor = factor that the study was measured with * reference / instrument

The factor of a sum goes to each of its meters: it makes their sum that of the reference, and says
nothing of either by itself.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from joulelab import formats
from joulelab.analysis.agreement import Agreement
from joulelab.energy.meter import meters
from joulelab.energy.meters.nvml_gpu import plain_uuid
from joulelab.energy.reading import instrument_of
from joulelab.errors import UsageError
from joulelab.report.instruments.comparison import Compared
from joulelab.report.instruments.instrument import Instrument
from joulelab.report.instruments.readings import calibrations
from joulelab.settings import CalibrationFactor, kept_calibration
from joulelab.study.results import Results

NVML, REPLAY = "nvml", "replay"


@dataclass(frozen=True)
class NewFactor:
    """A factor for one domain of one meter.

    Attributes:
        meter: its name, as of its table in the settings.
        domain: what is calibrated.
        key: the domain; of nvml the card's UUID.
        factor: with `low` and `high`, the ends of its interval.
        low: lower end.
        high: upper end.
        before: what the settings file has now; ``None`` for nothing.
        measured_with: what the study was measured with.
        comment: when, from what, how sure.
    """

    meter: str
    domain: str
    key: str
    factor: float
    low: float
    high: float
    before: float | None
    measured_with: float
    comment: str

    @property
    def setting(self) -> CalibrationFactor:
        """As the settings file keeps it."""
        return CalibrationFactor(self.meter, self.key, self.factor, self.comment)

    def __str__(self) -> str:
        line = f'[meter.{self.meter}.calibration] "{self.key}" = {self.factor:.6g}'
        of = f" ({self.domain})" if self.key != self.domain else ""
        was = f", in place of {self.before:.6g}" if self.before is not None else ""
        return f"{line}{of}{was}; {self.comment}"


def new_factors(
    compared: Compared, studies: Sequence[Results], date: str, named: Collection[str] = ()
) -> tuple[list[NewFactor], list[str]]:
    """Factors for every instrument that was compared, and what stands against some.

    Args:
        compared: the instruments.
        studies: whose runs they have read.
        date: of today, for the comment.
        named: instruments that the user has named. Another one has no factor where it reads other
            parts of the machine than the reference.

    Returns:
        The factors; and sentences on those that are not there, or are not to be trusted.

    Raises:
        UsageError: a meter would be given two factors.
        SettingsError: the settings file cannot be read.
    """
    manifest = studies[0].manifest
    changed = [said for one in studies for said in calibrations(one.manifest)[1]]
    if any(calibrations(one.manifest)[0] != calibrations(manifest)[0] for one in studies):
        changed.append("The studies were measured with different factors.")
    if changed:
        return [], [f"{said} No factor is saved." for said in changed]
    names = formats.listing([one.folder.resolve().name for one in studies])
    found: list[NewFactor] = []
    said: list[str] = []
    for name, agreed in compared.agreements.items():
        instrument = compared.read[name]
        alike = instrument.covers == compared.reference.covers or name in named
        if reason := _why_not(agreed, alike=alike):
            said.append(f"{name} is not saved: {reason}.")
            continue
        said += _doubts(name, agreed)
        of = f", of {'+'.join(instrument.sources)}" if len(instrument.sources) > 1 else ""
        against = f"against {compared.reference.name} ({'+'.join(compared.reference.domains)}){of}"
        for one in _factors(instrument, agreed, manifest, f"{against}, study {names}", date):
            if isinstance(one, str):
                said.append(one)
            else:
                found.append(one)
    _check_once(found)
    return found, said


def _factors(
    instrument: Instrument, agreed: Agreement, manifest: Mapping[str, Any], words: str, date: str
) -> Iterator[NewFactor | str]:
    """The factor of each part, or why it has none."""
    factor = agreed.calibration.factor
    known = known_keys(manifest)
    for source, domain in instrument.parts:
        channels = [
            one
            for one in _channels(manifest)
            if one["domain"] == domain and instrument_of(str(one["source"])) == source
        ]
        meter = _meter(channels[0]) if channels else source
        key = _key(meter, domain, manifest)
        if meter not in meters.names() or meter == REPLAY:
            yield f"{source} is not a meter that takes a factor; {domain} is not saved."
            continue
        if key is None:
            yield f"{domain}: the study does not say which card that was; not saved."
            continue
        kept = kept_calibration(meter, known.get(meter, ()))
        key = next((one for one in kept if _same(meter, one, key)), key)
        with_ = calibrations(manifest)[0].get((source, domain), 1.0)
        low, high = factor.low * with_, factor.high * with_
        yield NewFactor(
            meter,
            domain,
            key,
            factor.value * with_,
            low,
            high,
            kept.get(key),
            with_,
            f"{date}: n = {factor.n}, 95 %: {low:.4g} to {high:.4g}, {words}",
        )


def known_keys(manifest: Mapping[str, Any]) -> dict[str, list[str]]:
    """Domains, of nvml UUIDs, that each meter has read in a study."""
    keys: dict[str, list[str]] = {}
    for channel in _channels(manifest):
        meter = _meter(channel)
        key = _key(meter, str(channel["domain"]), manifest)
        if key is not None and key not in keys.setdefault(meter, []):
            keys[meter].append(key)
    return keys


def _why_not(agreed: Agreement, *, alike: bool) -> str:
    factor = agreed.calibration.factor
    if not alike:
        return (
            f"it reads other parts of the machine than {agreed.reference}; --instrument "
            f"{agreed.measured} saves it all the same"
        )
    if not (formats.known(factor.low) and formats.known(factor.high)):
        return "one run has no interval, and a factor without one is worth nothing"
    return ""


def _doubts(name: str, agreed: Agreement) -> list[str]:
    """Why one factor may not be enough."""
    said = []
    line = agreed.passing_bablok
    if line.constant:
        said.append(
            f"{name}: the intercept differs from 0 "
            f"({formats.joules(line.intercept_low)} to "
            f"{formats.joules(line.intercept_high)}): a factor alone does not make "
            "one the other."
        )
    if not agreed.calibration.ways_agree:
        origin = agreed.calibration.through_origin
        said.append(
            f"{name}: the largest runs ask for another factor, {origin.value:.4g} "
            f"({origin.low:.4g} to {origin.high:.4g})."
        )
    return said


def _check_once(found: Sequence[NewFactor]) -> None:
    seen: set[tuple[str, str]] = set()
    for one in found:
        if (one.meter, one.key) in seen:
            raise UsageError(
                f"{one.meter} would be given two factors for {one.domain}",
                "name with --instrument the one that is to be saved",
            )
        seen.add((one.meter, one.key))


def _channels(manifest: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return list((manifest.get("energy") or {}).get("channels", []))


def _meter(channel: Mapping[str, Any]) -> str:
    """The name of a channel's meter: ``shelly`` of ``shelly:192.168.1.20``."""
    name = channel.get("meter") or instrument_of(str(channel["source"]))
    return str(name).partition(":")[0]


def _key(meter: str, domain: str, manifest: Mapping[str, Any]) -> str | None:
    """What a factor is kept by; ``None`` where the study does not know a card's UUID."""
    if meter != NVML:
        return domain
    about = (manifest.get("energy") or {}).get("meters", {}).get(NVML, {})
    uuid = about.get(f"{domain} uuid")
    return None if uuid is None else str(uuid)


def _same(meter: str, one: str, other: str) -> bool:
    return plain_uuid(one) == plain_uuid(other) if meter == NVML else one == other
