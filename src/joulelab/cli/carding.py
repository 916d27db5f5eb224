"""``joulelab card``: measured energy in the formats of others."""

from __future__ import annotations

import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from joulelab.cards.annex_xi import annex_xi_card
from joulelab.cards.hugging_face import hugging_face_card, updated_card
from joulelab.cards.sci import sci_card
from joulelab.cards.source import work_of
from joulelab.cards.spdx import spdx_card
from joulelab.cards.work import Asked, Card, Phase, Work
from joulelab.cli.output import check_file, say, show
from joulelab.energy.carbon.footprint import in_zone
from joulelab.errors import StoreWriteError, UsageError
from joulelab.files import write_whole
from joulelab.present import View

if TYPE_CHECKING:
    from joulelab.cli.card_commands import Card as CardAsked

FOR_SCI = ("unit", "count", "embodied")


def run_card(asked: CardAsked) -> None:
    """Make a card, and show or write it.

    Args:
        asked: what the user has written.

    Raises:
        StoreError: the folder has no study, or cannot be read.
        StoreWriteError: the file cannot be written.
        UsageError: there is nothing to make a card of; see `work_of` and the formats.
    """
    given = [name for name in FOR_SCI if getattr(asked, name) is not None]
    if given and asked.format_ != "sci":
        raise UsageError(f"--{given[0]} is for --format sci", "leave it out")
    if asked.embodied is not None and not math.isfinite(asked.embodied):
        raise UsageError(f"--embodied {asked.embodied} is not possible", "give grams of CO2e")
    if asked.out is not None:
        check_file(asked.out, replaced=True)
    phase: Phase | None = asked.phase.value if asked.phase else None
    adds = Asked(
        runs=tuple(asked.run or ()),
        place=in_zone(asked.place, asked.timezone),
        pue=asked.pue,
        phase=phase,
        hardware=asked.hardware,
        name=asked.name,
        unit=asked.unit,
        count=asked.count,
        embodied_g=asked.embodied,
    )
    work = work_of(asked.source, adds)
    card = _card(asked.format_.value, work, adds)
    document = f"{card.document}\n"
    if asked.out is not None:
        if asked.format_ == "hf":
            document = updated_card(asked.out, card)
        _write(asked.out, document)
    if asked.json:
        show(View([], lambda: _data(work, card, asked.out)), as_json=True)
        return
    if asked.out is None:
        sys.stdout.write(document)
    else:
        sys.stdout.write(f"{asked.out}\n")
    if asked.out is not None or not card.for_people:
        _explain(work, card)


def _card(file_format: str, work: Work, adds: Asked) -> Card:
    if file_format == "hf":
        return hugging_face_card(work)
    if file_format == "spdx":
        return spdx_card(work)
    return annex_xi_card(work) if file_format == "annex-xi" else sci_card(work, adds)


def _explain(work: Work, card: Card) -> None:
    """Say on standard error what is left out of a document that cannot say so itself."""
    say(work.answer)
    for name, reason in card.left_out.items():
        say(f"left out: {name}: {reason}", "yellow")
    for remark in card.remarks:
        say(remark, "dim")


def _write(path: Path, text: str) -> None:
    try:
        write_whole(path.resolve(), text)
    except OSError as error:
        raise StoreWriteError(
            f"{path} cannot be written: {error.strerror or error}", "give another file with --out"
        ) from error


def _data(work: Work, card: Card, out: Path | None) -> dict[str, object]:
    return {
        "fields": dict(card.fields),
        "left_out": dict(card.left_out),
        "remarks": list(card.remarks),
        "work": work.to_dict(),
        "document": card.document,
        "out": None if out is None else str(out),
    }
