"""What the statements for people have in common: their layout in Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from joulelab import formats
from joulelab.present.markdown import escape

TIMES = "\N{MULTIPLICATION SIGN}"
LARGE = 1000


def markdown_rows(rows: Sequence[Sequence[str]], head: Sequence[str]) -> str:
    """A table of Markdown.

    Args:
        rows: cells as text.
        head: the headings.
    """
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(map(_cell, line))} |" for line in lines)


def markdown_notes(left_out: Mapping[str, str], notes: Sequence[str]) -> str:
    """What is left out and why, and what to know, as lists.

    Args:
        left_out: reasons by name.
        notes: sentences.
    """
    parts = []
    if left_out:
        names: dict[str, list[str]] = {}
        for name, reason in left_out.items():
            names.setdefault(reason, []).append(f"`{name}`")
        listed = [f"- {', '.join(those)}: {escape(reason)}" for reason, those in names.items()]
        parts.append("\n".join(["Left out:", "", *listed]))
    if notes:
        parts.append("\n".join(["Notes:", "", *(f"- {escape(one)}" for one in notes)]))
    return "\n\n".join(parts)


def _cell(text: str) -> str:
    return text if set(text) == {"-"} else escape(text)


def scientific(value: float) -> str:
    """A number with three digits, and a power of ten where it needs one.

    >>> scientific(6.14e-06).replace(TIMES, "*"), scientific(12.0), scientific(0.0)
    ('6.14 * 10^-6', '12.0', '0')
    """
    if not value:
        return "0"
    if 1 <= value < LARGE:
        return formats.significant(value)
    mantissa, _, exponent = f"{value:.2e}".partition("e")
    return f"{mantissa} {TIMES} 10^{int(exponent)}"
