"""What a card is about: work whose energy is known, and where that is from.

An amount that is unknown is None, and `Work.reasons` says why.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from joulelab import formats
from joulelab.energy.carbon.footprint import Footprint
from joulelab.energy.reading import Status, plain_data

Phase = Literal["training", "fine-tuning", "inference"]
PHASES: tuple[str, ...] = get_args(Phase)
SURE = (Status.MEASURED, Status.REPLAYED)
DIGITS = 6
NO_PLACE = "the origin of the electricity is unknown: name it with --place"


@dataclass(frozen=True)
class Units:
    """How many of some unit the work has done.

    Attributes:
        number: of them.
        origin: where the number is from, in words.
    """

    number: int
    origin: str


@dataclass(frozen=True)
class Work:
    """Work whose energy is known.

    Attributes:
        name: of the study, or of what was measured.
        scope: which energy counts, in words.
        energy_j: gross energy in joules.
        error_j: bound of its error.
        status: of the energy: measured, partly estimated, estimated, replayed or missing.
        origin: who has determined it, and with what.
        duration_s: time in seconds.
        footprint: its CO2e; None without a place.
        phase: what the energy was spent for.
        phase_known: whether that is known, or was assumed.
        hardware: in words.
        flops: floating-point operations.
        units: by noun: ``"training"``, ``"image"``, ``"request"`` ...
        usual_unit: the noun to count by.
        reasons: why an amount is unknown, by name.
        remarks: what to know before reading, in sentences.
    """

    name: str
    scope: str
    energy_j: float | None
    error_j: float | None
    status: str
    origin: str
    duration_s: float | None
    footprint: Footprint | None
    phase: Phase = "training"
    phase_known: bool = False
    hardware: str | None = None
    flops: float | None = None
    units: Mapping[str, Units] = field(default_factory=dict)
    usual_unit: str = "run"
    reasons: Mapping[str, str] = field(default_factory=dict)
    remarks: tuple[str, ...] = ()

    @property
    def co2e_g(self) -> float | None:
        """Grams of CO2 equivalent, power usage effectiveness included."""
        return self.footprint.grams if self.footprint else None

    def why(self, name: str) -> str:
        """Why an amount is unknown."""
        if name == "co2e_g":
            return (self.footprint.reason if self.footprint else "") or NO_PLACE
        if name == "error_j" and self.energy_j is None:
            return self.why("energy_j")
        return self.reasons.get(name) or "unknown"

    @property
    def answer(self) -> str:
        """The energy, CO2e and time in one line."""
        if self.energy_j is None:
            return f"Energy unknown: {self.why('energy_j')}"
        sure = self.status in SURE
        error_j = self.error_j
        bound = f" ± {formats.joules(error_j)}" if sure and error_j is not None else ""
        parts = [f"{formats.joules(self.energy_j)}{bound} ({formats.watt_hours(self.energy_j)})"]
        if self.co2e_g is not None:
            parts.append(f"{formats.grams(self.co2e_g)} CO2e")
        if self.duration_s is not None:
            parts.append(formats.duration(self.duration_s))
        said = f"{'' if sure else 'about '}{', '.join(parts)} for {self.phase}; {self.status}"
        if not sure and error_j is not None:
            low_j = max(0.0, self.energy_j - error_j)
            said += f", could be {formats.joules_range(low_j, self.energy_j + error_j)}"
        return f"{said[0].upper()}{said[1:]}"

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        whole: dict[str, Any] = plain_data(self)
        units = {noun: {"number": n.number, "origin": n.origin} for noun, n in self.units.items()}
        amounts = ("energy_j", "error_j", "flops", "hardware", "duration_s")
        known = {name for name in amounts if getattr(self, name) is not None}
        reasons = {name: why for name, why in self.reasons.items() if name not in known}
        return {**whole, "units": units, "reasons": reasons}


@dataclass(frozen=True)
class Card:
    """A card, or a statement.

    Attributes:
        document: what the format asks for, text.
        fields: what is filled, as plain data.
        left_out: why each of the other fields is not, by name.
        remarks: what to know before reading, in sentences.
        for_people: whether the document itself says what is left out.
    """

    document: str
    fields: Mapping[str, Any]
    left_out: Mapping[str, str]
    remarks: tuple[str, ...]
    for_people: bool = False


@dataclass(frozen=True)
class Asked:
    """What the user adds to what was measured.

    Attributes:
        runs: ids of the runs that count, or of their experiments or configurations; all by default.
        place: of the electricity, as for `joulelab.measure`.
        pue: power usage effectiveness; default: as measured, or in the settings.
        phase: what the energy was spent for; default: what is known.
        hardware: in words; default: what is known.
        name: of the model; default: of the study or the measurement.
        unit: noun of a functional unit.
        count: how many of these; default: from the results.
        embodied_g: embodied emissions in grams of CO2e.
    """

    runs: tuple[str, ...] = ()
    place: str | float | None = None
    pue: float | None = None
    phase: Phase | None = None
    hardware: str | None = None
    name: str | None = None
    unit: str | None = None
    count: int | None = None
    embodied_g: float | None = None


def assumed(phase: Phase) -> str:
    """That a phase was assumed."""
    return f"Taken as {phase}; --phase says what it was."


def status_remark(status: str) -> list[str]:
    """What an energy that no sensor has measured is good for."""
    if status == Status.ESTIMATED:
        return ["The energy is an estimate: no sensor measured it."]
    if status == Status.PARTLY_ESTIMATED:
        return ["A part of the energy is an estimate: no sensor measured that part."]
    if status == Status.REPLAYED:
        return ["The energy was replayed from stored readings: it was spent before."]
    return []


def rounded(value: float) -> float:
    """A number with as many digits as a measurement can have.

    >>> rounded(0.0023039295499122287)
    0.00230393
    """
    return float(f"{value:.{DIGITS}g}")
