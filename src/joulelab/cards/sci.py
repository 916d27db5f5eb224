"""Software Carbon Intensity, ISO/IEC 21031: emissions per functional unit.

::

    O = E * I             operational emissions: energy in kWh, with PUE, times g CO2e per kWh
    SCI = (O + M) / R     M embodied emissions of the hardware, R number of functional units
"""

from __future__ import annotations

from typing import Any

from joulelab import formats
from joulelab.cards.statement import TIMES, markdown_notes, markdown_rows, scientific
from joulelab.cards.work import Asked, Card, Units, Work
from joulelab.energy.carbon.footprint import JOULES_IN_KWH, checked_pue, default_pue
from joulelab.errors import UsageError, quoted

NO_EMBODIED = (
    "no measurement shows the embodied emissions of the hardware; give their share with --embodied"
)
AVERAGE = "Carbon intensity is average and location-based; offsets and certificates do not count."


def sci_card(work: Work, asked: Asked) -> Card:
    """The statement, in Markdown.

    Args:
        work: what was measured.
        asked: its functional unit, and the embodied emissions.

    Raises:
        UsageError: the number of functional units is unknown or not above 0.
    """
    noun = (asked.unit or work.usual_unit).strip()
    units = _units(work, noun, asked.count)
    pue = work.footprint.pue if work.footprint else checked_pue(asked.pue or default_pue())
    energy_kwh = None if work.energy_j is None else work.energy_j / JOULES_IN_KWH * pue
    intensity = work.footprint.g_per_kwh if work.footprint else None
    operational_g = work.co2e_g
    score = None
    if operational_g is not None:
        score = (operational_g + (asked.embodied_g or 0.0)) / units.number
    fields: dict[str, Any] = {
        "E_kwh": energy_kwh,
        "I_g_per_kwh": intensity,
        "O_g": operational_g,
        "M_g": asked.embodied_g,
        "R": units.number,
        "unit": noun,
        f"SCI_g_per_{noun}": score,
    }
    unknown = work.why("energy_j") if work.energy_j is None else work.why("co2e_g")
    left_out = {
        name: {"M_g": NO_EMBODIED, "I_g_per_kwh": work.why("co2e_g")}.get(name, unknown)
        for name, value in fields.items()
        if value is None
    }
    filled = {name: value for name, value in fields.items() if value is not None}
    notes = [*work.remarks, f"Energy: {work.origin}.", AVERAGE]
    if asked.embodied_g is None and score is not None:
        notes.insert(0, "Without M the score is too low: compare it with scores without M only.")
    return Card(
        "\n\n".join(
            [
                f"**{_answer(work, score, noun, asked, unknown)}**",
                f"# Software Carbon Intensity: {work.name}",
                _parts(work, filled, noun, units, asked, pue),
                f"Software boundary: {work.scope}.",
                markdown_notes(left_out, notes),
            ]
        ),
        filled,
        left_out,
        tuple(notes),
        for_people=True,
    )


def _units(work: Work, noun: str, count: int | None) -> Units:
    """The number of functional units."""
    if count is not None:
        if count <= 0:
            raise UsageError(f"--count {count} is not possible", "give a number above 0")
        return Units(count, "given by the user")
    if noun not in work.units:
        known = formats.listing(list(work.units)) if work.units else "nothing"
        raise UsageError(
            f"the number of units {quoted(noun)} is unknown: the results count {known}",
            f"--unit {noun} --count NUMBER",
        )
    if not work.units[noun].number:
        raise UsageError(
            f"there is nothing to divide by: 0 {formats.plural(noun)} have finished",
            f"--unit {noun} --count NUMBER",
        )
    return work.units[noun]


def _answer(work: Work, score: float | None, noun: str, asked: Asked, unknown: str) -> str:
    if score is None:
        return f"SCI unknown: {unknown}"
    without = ", embodied emissions left out" if asked.embodied_g is None else ""
    about = "" if work.status == "measured" else "about "
    return f"SCI = {about}{formats.grams(score)} CO2e per {noun}{without}; energy {work.status}"


def _parts(
    work: Work, filled: dict[str, Any], noun: str, units: Units, asked: Asked, pue: float
) -> str:
    """All parts of the score that are known."""
    rows = []
    if "E_kwh" in filled:
        said = f"{formats.joules(work.energy_j)}, with a PUE of {round(pue, 3)}"
        rows.append(["E, energy", f"{scientific(filled['E_kwh'])} kWh", said])
    if "I_g_per_kwh" in filled and work.footprint:
        amount = f"{formats.significant(filled['I_g_per_kwh'])} g CO2e/kWh"
        where = ", ".join(filter(None, [work.footprint.place, work.footprint.source]))
        rows.append(["I, carbon intensity", amount, where])
    if "O_g" in filled:
        rows.append([f"O = E {TIMES} I, operational", f"{formats.grams(filled['O_g'])} CO2e", ""])
    if asked.embodied_g is not None:
        amount = f"{formats.grams(asked.embodied_g)} CO2e"
        rows.append(["M, embodied", amount, "given by the user"])
    else:
        rows.append(["M, embodied", "left out", NO_EMBODIED])
    rows.append(["R, functional unit", formats.count(units.number, noun), units.origin])
    score = next((value for name, value in filled.items() if name.startswith("SCI")), None)
    if score is not None:
        exact = f"{scientific(score)} g CO2e per {noun}"
        formula = "(O + M) / R" if asked.embodied_g is not None else "O / R"
        rows.append([f"SCI = {formula}", exact, ""])
    return markdown_rows(rows, ["part", "value", "from"])
