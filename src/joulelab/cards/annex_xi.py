"""The energy items of the EU AI Act's Annex XI, Section 1, point 2 (d) and (e), as a statement.

The headings are the words of the annex (Regulation (EU) 2024/1689). Operations and energy have the
units that providers report them in: FLOP and MWh, with at least two significant figures.
"""

from __future__ import annotations

from typing import Any

from joulelab import formats
from joulelab.cards.statement import markdown_notes, markdown_rows, scientific
from joulelab.cards.work import Card, Work
from joulelab.energy.carbon.footprint import JOULES_IN_KWH

POINT_D = (
    "the computational resources used to train the model (e.g. number of floating point "
    "operations), training time, and other relevant details related to the training"
)
POINT_E = "known or estimated energy consumption of the model"
JOULES_IN_MWH = 1000 * JOULES_IN_KWH
COUNTED = (
    "counted, not measured: matrix products and convolutions of forward and backward passes, a "
    "multiplication and an addition as two operations"
)
ABOUT_INFERENCE = "the energy is that of inference"


def annex_xi_card(work: Work) -> Card:
    """The statement, in Markdown.

    Args:
        work: what was measured.
    """
    trained = work.phase != "inference"
    energy_mwh = None if work.energy_j is None else work.energy_j / JOULES_IN_MWH
    error_mwh = None if work.error_j is None else work.error_j / JOULES_IN_MWH
    fields: dict[str, Any] = {
        "training_compute_flop": work.flops if trained else None,
        "training_compute_method": COUNTED if trained and work.flops is not None else None,
        "training_time_s": work.duration_s if trained else None,
        "training_hardware": work.hardware if trained else None,
        f"{work.phase.replace('-', '_')}_energy_mwh": energy_mwh,
        "energy_error_mwh": error_mwh if energy_mwh is not None else None,
        "energy_status": work.status,
        "energy_method": f"{work.origin}; {work.scope}" if energy_mwh is not None else None,
    }
    reasons = {
        "training_compute_flop": work.why("flops"),
        "training_compute_method": work.why("flops"),
        "training_time_s": work.why("duration_s"),
        "training_hardware": work.why("hardware"),
        "energy_error_mwh": work.why("error_j"),
    }
    left_out = {
        name: ABOUT_INFERENCE
        if not trained and name.startswith("training")
        else reasons.get(name, work.why("energy_j"))
        for name, value in fields.items()
        if value is None
    }
    filled = {name: value for name, value in fields.items() if value is not None}
    notes = [*work.remarks, "The overhead of a data centre (PUE) is not in the energy."]
    parts = [
        f"**{work.answer}**",
        f"# Energy items of Annex XI: {work.name}",
        f"Section 1, point 2 (d): {POINT_D}",
        _resources(work) if trained else f"Left out: {ABOUT_INFERENCE}.",
        f"Section 1, point 2 (e): {POINT_E}",
        _energy(work, energy_mwh, error_mwh),
        markdown_notes(left_out, notes),
    ]
    return Card("\n\n".join(parts), filled, left_out, tuple(notes), for_people=True)


def _resources(work: Work) -> str:
    """The items of point (d) that are known."""
    rows = []
    if work.flops is not None:
        rows.append(["Amount of computation", f"{scientific(work.flops)} FLOP", COUNTED])
    if work.duration_s is not None:
        time = f"{formats.duration(work.duration_s)} ({scientific(work.duration_s / 86_400)} days)"
        rows.append(["Training time", time, f"wall clock; {work.scope}"])
    if work.hardware:
        rows.append(["Hardware", work.hardware, "as found by the measurement"])
    return (
        markdown_rows(rows, ["item", "value", "how it is known"]) if rows else "Nothing is known."
    )


def _energy(work: Work, energy_mwh: float | None, error_mwh: float | None) -> str:
    """The items of point (e)."""
    if energy_mwh is None:
        return f"Unknown: {work.why('energy_j')}."
    bound = "" if error_mwh is None else f", ± {scientific(error_mwh)} MWh"
    amount = f"{scientific(energy_mwh)} MWh ({formats.joules(work.energy_j)}){bound}"
    rows = [
        [f"Amount of energy used for {work.phase}", amount, work.status],
        ["Methodology", work.origin, work.scope],
    ]
    return markdown_rows(rows, ["item", "value", "how it is known"])
