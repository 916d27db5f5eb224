"""Hugging Face's ``co2_eq_emissions``: in the YAML metadata above a model card.

::

    ---
    license: mit                     kept, with comments and order
    co2_eq_emissions:                replaced
      emissions: 1.24                grams of CO2 equivalent
      source: "..."
      training_type: "..."           pre-training or fine-tuning
      geographical_location: "..."
      hardware_used: "..."
    ---
    # The card                       kept

Source: huggingface.co/docs/hub/model-cards-co2. Texts are written as JSON, which YAML contains.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from joulelab.cards.work import Card, Work, rounded
from joulelab.errors import UsageError
from joulelab.optional import optional
from joulelab.plain import PlainDataError, is_there, read_text

KEY = "co2_eq_emissions"
FIELDS = ("emissions", "source", "training_type", "geographical_location", "hardware_used")
TRAINING_TYPES = {"training": "pre-training", "fine-tuning": "fine-tuning"}
MOST_BYTES = 1 << 24
NO_TYPE = "not known from a measurement: say --phase training or --phase fine-tuning"
NO_LOCATION = "the electricity was given as a number: name the place with --place"
_FRONT = re.compile(r"\A\s*---[ \t]*\r?\n(.*?)^---[ \t]*\r?$", re.S | re.M)


def hugging_face_card(work: Work) -> Card:
    """The block ``co2_eq_emissions`` as YAML.

    Args:
        work: what was measured.
    """
    footprint = work.footprint
    intensity = f"; CO2e of {footprint.basis}" if footprint and work.co2e_g is not None else ""
    training_type = TRAINING_TYPES.get(work.phase) if work.phase_known else None
    values: dict[str, Any] = {
        "emissions": None if work.co2e_g is None else rounded(work.co2e_g),
        "source": None if work.energy_j is None else f"{work.origin}{intensity}",
        "training_type": training_type,
        "geographical_location": footprint.place if footprint else None,
        "hardware_used": work.hardware,
    }
    reasons = {
        "emissions": work.why("energy_j" if work.energy_j is None else "co2e_g"),
        "source": work.why("energy_j"),
        "training_type": "the energy is that of inference"
        if work.phase == "inference"
        else NO_TYPE,
        "geographical_location": NO_LOCATION if footprint else work.why("co2e_g"),
        "hardware_used": work.why("hardware"),
    }
    filled = {name: value for name, value in values.items() if value not in (None, "")}
    left_out = {name: reasons[name] for name in FIELDS if name not in filled}
    remarks = [f"Counted: {work.scope}.", *work.remarks]
    if work.phase == "inference" and work.co2e_g is not None:
        remarks.append("These are emissions of inference; the field is meant for training.")
    return Card(_block(filled), filled, left_out, tuple(remarks))


def _block(fields: dict[str, Any]) -> str:
    lines = [f"  {name}: {_written(value)}" for name, value in fields.items()]
    return "\n".join([f"{KEY}:", *lines]) if lines else f"{KEY}: {{}}"


def _written(value: float | str) -> str:
    """A value as YAML 1.1 reads it: a number without a point and an exponent would be text."""
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    text = repr(float(value))
    mantissa, e, exponent = text.partition("e")
    return f"{mantissa if '.' in mantissa else f'{mantissa}.0'}{e}{exponent}"


def updated_card(path: Path, card: Card) -> str:
    """The text of a model card with the block in its metadata; the rest of it as it was.

    A ``training_type`` that the card has stays where none is known, and so do keys of its own in
    the block.

    Args:
        path: of the card; a new one has the metadata alone.
        card: made by `hugging_face_card`.

    Raises:
        MissingDependencyError: the card exists, and PyYAML is not installed.
        UsageError: the card cannot be read, or its metadata is not valid YAML.
    """
    if not is_there(path):
        return f"---\n{card.document}\n---\n"
    yaml = optional("yaml", "joulelab card --format hf --out")
    try:
        text = read_text(path, MOST_BYTES)
    except PlainDataError as error:
        raise UsageError(
            f"{path} cannot be read: {error}", "give a model card, README.md"
        ) from None
    front = _FRONT.match(text)
    if front is None:
        if text.lstrip().startswith("---"):
            raise UsageError(f"{path}: its metadata has no end", "close it with a line ---")
        return f"---\n{card.document}\n---\n\n{text}"
    try:
        root = yaml.compose(front[1], yaml.SafeLoader)
        before = yaml.safe_load(front[1]) or {}
    except yaml.YAMLError as error:
        line = getattr(getattr(error, "problem_mark", None), "line", 0) + 2
        problem = getattr(error, "problem", None) or "it cannot be parsed"
        raise UsageError(
            f"{path}, line {line}: the metadata is not valid YAML: {problem}", "mend it first"
        ) from None
    if not isinstance(before, dict) or (root is not None and root.flow_style):
        raise UsageError(
            f"{path}: the metadata is not a list of keys", "write a line for each: license: mit"
        )
    old = before.get(KEY)
    kept = {} if not isinstance(old, dict) else {k: v for k, v in old.items() if k not in FIELDS}
    if isinstance(old, dict) and old.get("training_type") and "training_type" in card.left_out:
        kept["training_type"] = old["training_type"]
    fields = {**card.fields, **kept}
    fields = {name: fields[name] for name in (*FIELDS, *fields) if name in fields}
    whole = _replaced(front[1], root, _block(fields))
    after = yaml.safe_load(whole)
    if after != {**before, KEY: fields}:
        raise UsageError(
            f"{path}: {KEY} cannot be replaced in its metadata", f"remove the key {KEY} from it"
        )
    newline = "\r\n" if "\r\n" in front[0] else "\n"
    whole = re.sub(r"\r?\n", newline, whole)
    return text[: front.start(1)] + whole + text[front.end(1) :]


def _replaced(front: str, root: Any, block: str) -> str:  # noqa: ANN401 - a node of PyYAML
    """The metadata with a block in the place of the old one, or at its end."""
    pairs = root.value if root is not None else []
    own = next((pair for pair in pairs if pair[0].value == KEY), None)
    if own is None:
        gap = "" if not front or front.endswith("\n") else "\n"
        return f"{front}{gap}{block}\n"
    lines = front.splitlines(keepends=True)
    first, last = own[0].start_mark.line, own[1].end_mark.line
    # The mark of a block is where the next key begins: comments and blank lines before it stay.
    if own[1].end_mark.column:
        last += 1
    while last - 1 > first and re.match(r"\s*(#.*)?$", lines[last - 1]):
        last -= 1
    return "".join([*lines[:first], f"{block}\n", *lines[max(last, first + 1) :]])
