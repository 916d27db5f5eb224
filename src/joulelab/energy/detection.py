"""Detection of the meters that work on this machine, and a recorder for them.

Meters are named as ``name``, ``name:address`` or ``name:address?setting=value&...``: ``"nvml"``,
``"shelly:192.168.1.20"``, ``"replay:trace.csv?loop=true"``. Other settings come from the table
``[meter.<name>]`` of the user's settings file.

Every meter takes the setting ``calibration``::

    [meter.codecarbon]
    calibration = 1.06                            # all that it reads
    calibration = { "cpu:0" = 1.06, wall = 0.99 } # or by domain

A factor is reference / meter, from a comparison with a better instrument on the same runs
(``joulelab instruments``). Energy and power of the domain are multiplied by it; domains without a
factor stay unchanged. The channel's relative error bound stays too: the factor removes the
deviation from that reference in those runs, but neither the error of the reference nor the scatter
of the comparison is known. The meter ``nvml`` has factors by UUID and multiplies by itself
(`joulelab.energy.meters.nvml`).
"""

from __future__ import annotations

import inspect
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import parse_qsl

from joulelab.energy.meter import Channel, Detector, Hidden, Meter, Missing, Sample, meters
from joulelab.energy.meters.settings import (
    CALIBRATION,
    EVERY,
    calibration_factors,
    check_domains,
    check_types,
)
from joulelab.energy.recorder import DEFAULT_INTERVAL_S, Recorder
from joulelab.errors import (
    JoulelabError,
    MeterError,
    PluginError,
    SettingsError,
    nearest,
    quoted,
    suggestion,
)
from joulelab.settings import load_settings, settings_path

ESTIMATE = "estimate"
QUICK_S = 0.01
"""A counter with a tick up to this is checked before measuring ..."""
LOOK_S = 0.05
"""... for at most this long, until it moves."""


@dataclass(frozen=True)
class Choice:
    """A meter as named by the user.

    Attributes:
        name: registered name of its detector.
        settings: the address and other settings given with the name.
        stored: other settings, of the settings file and of the program.
    """

    name: str
    settings: Mapping[str, Any] = field(default_factory=dict)
    stored: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def parse(cls, text: str) -> Choice:
        """Read ``name``, ``name:address`` or ``name:address?setting=value&...``.

        Raises:
            UnknownNameError: no meter has that name.
            SettingsError: a password is among the settings: names are visible in process lists and
                stored in studies.
        """
        whole, _, query = text.partition("?")
        name, _, address = whole.partition(":")
        if name not in meters.names():
            meters.get(name)  # raises, and suggests the closest name
        settings = {key: _literal(value) for key, value in parse_qsl(query, True)}
        if "password" in settings:
            raise SettingsError(
                f"a password in the name of a meter ({name}) would be visible to others",
                f"put it into {settings_path()} or JOULELAB_{name.upper()}_PASSWORD",
            )
        return cls(name, settings | ({"address": address} if address else {}))

    def detect(self) -> tuple[Sequence[Meter], Sequence[Missing]]:
        """The meters that work, calibrated, and what cannot be read.

        Raises:
            JoulelabError: a setting is not valid, or the detector refuses.
        """
        try:
            found, missing = self.detector().detect()
            return self.calibrated(found), missing
        except JoulelabError:
            raise
        except Exception as error:  # a meter from a plug-in may raise anything
            reason = f"its detector raised {type(error).__name__}: {error}"
            remedy = "fix or uninstall the package that provides it"
            return [], [Missing(self.name, reason, remedy)]

    def detector(self, **more: object) -> Detector:
        """The detector with its settings.

        Args:
            more: arguments that are not settings.

        Raises:
            SettingsError: a setting is unknown, or not valid.
        """
        detector = meters.get(self.name)
        given = {**self.stored, **self.settings}
        known = [name for name in inspect.signature(detector).parameters if name not in more]
        factors = self._factors()
        if CALIBRATION in given and CALIBRATION not in known:
            check_domains(factors, self._where())
            del given[CALIBRATION]
        self._check_names(known)
        check_types(self.name, detector, given)
        return detector(**given, **more)

    def check_names(self) -> None:
        """Refuse settings that the detector does not have, without making it.

        Raises:
            SettingsError: a setting is unknown.
        """
        known = inspect.signature(meters.get(self.name)).parameters
        self._check_names([name for name in known if name not in self._arguments])

    def check(self) -> None:
        """Refuse what `detector` refuses, without reading anything.

        Raises:
            SettingsError: a setting is unknown, or not valid.
        """
        self.detector(**self._arguments)

    @property
    def _arguments(self) -> Mapping[str, object]:
        """Arguments of its detector that are not settings, for one that reads nothing."""
        return {"measured": (), "beside": False} if self.name == ESTIMATE else {}

    def _check_names(self, known: Sequence[str]) -> None:
        for name in {**self.stored, **self.settings}:
            if name not in (*known, CALIBRATION):
                where = "" if name in self.settings else f" ({settings_path()})"
                raise SettingsError(
                    f"the meter {self.name!r} has no setting {name!r}{where}",
                    suggestion(name, dict.fromkeys([*known, CALIBRATION]))
                    or f"its only setting is {CALIBRATION}",
                )

    def calibrated(self, found: Sequence[Meter]) -> list[Meter]:
        """Meters with the calibration factors of the settings, unless they apply these themselves.

        Args:
            found: the meters of the detector.
        """
        factors = self._factors()
        if not factors or CALIBRATION in inspect.signature(meters.get(self.name)).parameters:
            return list(found)
        return [CalibratedMeter(meter, factors) for meter in found]

    def _factors(self) -> dict[str, float]:
        given = {**self.stored, **self.settings}
        if CALIBRATION not in given:
            return {}
        return calibration_factors(given[CALIBRATION], self._where())

    def _where(self) -> str:
        """Origin of the calibration, for messages."""
        named = CALIBRATION in self.settings
        return f"{self.name}:" if named else f"{settings_path()}: [meter.{self.name}]"


@dataclass(frozen=True)
class Found:
    """What can and cannot be read here."""

    meters: tuple[Meter, ...]
    missing: tuple[Missing, ...]


def open_recorder(
    names: Sequence[str] | None = None,
    *,
    interval_s: float = DEFAULT_INTERVAL_S,
    settings: Mapping[str, Mapping[str, Any]] | None = None,
    estimates: bool = True,
) -> Recorder:
    """A recorder over the meters that work here; not yet started.

    Args:
        names: as for `find_meters`.
        interval_s: time between two samples in seconds.
        settings: as for `find_meters`.
        estimates: as for `find_meters`.

    Raises:
        UnknownNameError: no meter has that name.
        SettingsError: a setting of a meter is not valid.
        MeterError: a meter requested by name cannot read anything.
    """
    found = find_meters(names, settings=settings, estimates=estimates)
    return Recorder(found.meters, interval_s=interval_s, missing=found.missing)


def find_meters(
    names: Sequence[str] | None = None,
    *,
    settings: Mapping[str, Mapping[str, Any]] | None = None,
    estimates: bool = True,
) -> Found:
    """Open the meters that work here.

    Args:
        names: only these meters; ``None`` for all that need no address. The estimate reads only
            domains that no other meter reads; if named, it reads the others for comparison.
        settings: by name of the meter, overriding those of the settings file.
        estimates: whether domains without a sensor may be estimated.

    Raises:
        UnknownNameError: no meter has that name, or that of a setting.
        SettingsError: a setting of a meter is not valid, or misspelt in the settings file.
        MeterError: a meter requested by name cannot read anything, or two meters read the same
            domain by the same means.
    """
    found: list[Meter] = []
    missing: list[Missing] = []
    for name in settings or ():
        meters.get(name)  # raises, and suggests the closest name
    of_file = load_settings().get("meter", {})
    check_tables(of_file)
    choices = [
        replace(one, stored={**of_file.get(one.name, {}), **(settings or {}).get(one.name, {})})
        for one in (_automatic() if names is None else map(Choice.parse, names))
    ]
    try:
        for choice in choices:
            if choice.name == ESTIMATE:
                continue
            its_meters, its_missing = choice.detect()
            found += its_meters
            missing += its_missing
            if names is not None and not its_meters:
                raise _nothing(choice.name, its_missing)
        estimate = next((choice for choice in choices if choice.name == ESTIMATE), None)
        if estimates and estimate is not None:
            # Last, because it covers only what no other meter reads; if named, it reads the rest
            # for comparison.
            still = _standing_still(found)
            measured = [
                channel.domain
                for meter in found
                for channel in meter.channels
                if channel.domain not in still
            ]
            detector = estimate.detector(measured=measured, beside=names is not None)
            found += estimate.calibrated(detector.detect()[0])
        _check_distinct(found)
    except BaseException:
        for meter in found:
            meter.close()
        raise
    return Found(tuple(found), tuple(missing))


def check_tables(of_file: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Refuse what is misspelt in the settings file, for meters that are not used now too.

    Args:
        of_file: its tables ``[meter.NAME]``, by name.

    Returns:
        Names like that of no meter: a plug-in file that is not loaded may have them.

    Raises:
        SettingsError: a meter or a setting of one is misspelt.
    """
    unknown = []
    for name, stored in of_file.items():
        if name not in meters.names():
            if near := nearest(name, meters.names()):
                raise SettingsError(
                    f"{settings_path()}: [meter.{name}]: no meter is called {quoted(name)}",
                    f"did you mean {quoted(near)}?",
                )
            unknown.append(name)
            continue
        with suppress(PluginError):  # a broken package is reported when its meter is requested
            Choice(name, stored=stored).check_names()
    return unknown


def _automatic() -> list[Choice]:
    choices = []
    for name in meters.names():
        try:
            automatic = meters.get(name).automatic
        except JoulelabError:
            automatic = True  # a broken package is reported when its meter is requested
        if automatic:
            choices.append(Choice(name))
    return choices


def _standing_still(found: Sequence[Meter]) -> set[str]:
    """Domains whose fast counters stand still, as RAPL's in some virtual machines.

    The channels stay and report missing with a reason, but the estimate may read the domains.
    """
    moved: set[str] = set()
    quick = {
        channel.domain
        for meter in found
        for channel in meter.channels
        if channel.kind == "counter" and 0 < channel.tick_s <= QUICK_S
    }
    first = _values(found, quick)
    deadline_s = time.monotonic() + LOOK_S
    while quick - moved and time.monotonic() < deadline_s:
        time.sleep(QUICK_S / 2)
        now = _values(found, quick - moved)
        moved |= {domain for domain in now if now[domain] != first[domain]}
    return quick - moved


def _values(found: Sequence[Meter], domains: set[str]) -> dict[str, list[float | None]]:
    """Readings of the fast counters of some domains; other meters are not read."""
    values: dict[str, list[float | None]] = {domain: [] for domain in domains}
    for meter in found:
        if any(channel.domain in domains for channel in meter.channels):
            for channel, sample in zip(meter.channels, meter.sample(), strict=True):
                if channel.domain in domains and channel.kind == "counter":
                    values[channel.domain].append(sample.value)
    return values


def _check_distinct(found: Sequence[Meter]) -> None:
    seen: set[tuple[str, str]] = set()
    for channel in (channel for meter in found for channel in meter.channels):
        if (channel.domain, channel.source) in seen:
            raise MeterError(
                f"two meters read {channel.domain} by {channel.source}",
                "give one of them another domain, for instance shelly:HOST?domain=wall:1",
            )
        seen.add((channel.domain, channel.source))


def _literal(text: str) -> str | int | float | bool:
    """A value parsed as TOML, with unquoted strings allowed; 0123 is a string."""
    if text in ("true", "false"):
        return text == "true"
    for kind in (int, float):
        try:
            value = kind(text)
        except ValueError:
            continue
        if f"{value:g}" == text or str(value) == text:
            return value
    return text


def _nothing(name: str, missing: Sequence[Missing]) -> MeterError:
    why = missing[0] if missing else Missing("", "this machine has no such device")
    return MeterError(
        f"the meter {name!r} cannot read anything: {why.reason}",
        why.remedy or "`joulelab doctor` lists what can be read here",
    )


class CalibratedMeter(Meter):
    """A meter with energies and powers multiplied by factors.

    Args:
        meter: the original meter; closed with this one.
        factors: by domain, or by `EVERY`.
    """

    def __init__(self, meter: Meter, factors: Mapping[str, float]) -> None:
        self.name = meter.name
        self.interval_s = meter.interval_s
        self._meter = meter
        every = factors.get(EVERY, 1.0)
        self._factors = [factors.get(channel.domain, every) for channel in meter.channels]
        pairs = zip(meter.channels, self._factors, strict=True)
        self._channels = tuple(_calibrated_channel(channel, factor) for channel, factor in pairs)

    @property
    def channels(self) -> Sequence[Channel]:
        """The meter's channels; a remark gives the factor."""
        return self._channels

    def sample(self) -> Sequence[Sample]:
        """The meter's samples, multiplied."""
        samples = self._meter.sample()
        return [
            sample if sample.value is None else replace(sample, value=sample.value * factor)
            for sample, factor in zip(samples, self._factors, strict=True)
        ]

    def approach_edge(self) -> None:
        """Forward to the meter."""
        self._meter.approach_edge()

    def hidden_from(self, environment: Mapping[str, str]) -> Hidden:
        """As for the meter."""
        return self._meter.hidden_from(environment)

    def describe(self) -> Mapping[str, str]:
        """The meter's description, and the factors."""
        factors = {
            f"{channel.domain} {CALIBRATION}": f"{factor:g}"
            for channel, factor in zip(self._channels, self._factors, strict=True)
            if factor != 1.0
        }
        return {**self._meter.describe(), **factors}

    def close(self) -> None:
        """Close the meter."""
        self._meter.close()


def _calibrated_channel(channel: Channel, factor: float) -> Channel:
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
