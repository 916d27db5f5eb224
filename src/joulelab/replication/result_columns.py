"""Which columns of anybody's table of runs are results, and no factors: what was measured.

A designed experiment sets its factors, so that their levels come back; what it measures is another
number in nearly every run. A column of numbers is a result where more than half of its values are
different and they vary within a combination of the other columns, or are fractions that no other
run has; and where its name says that it was measured, its values are fractions, and another column
decides them all, as the memory used by a model.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

MEASURED = re.compile(
    r"time|duration|latency|energy|power|memory|usage|utili[sz]ation|temperature|throughput|"
    r"accuracy|loss|score|recall|emissions?|carbon|co2|joules?|watts?|runtime|perplexity|count"
)
"""What a name of a result has in it."""

ENOUGH = 8
"""Rows in which levels of a factor would come back."""


def is_number(cell: str) -> bool:
    """Whether a cell is a finite number.

    >>> is_number("1e3"), is_number("fp16"), is_number("nan")
    (True, False, False)
    """
    try:
        number = float(cell)
    except ValueError:
        return False
    return number - number == 0


def is_result(name: str, cells: Mapping[str, Sequence[str]], others: Sequence[str]) -> bool:
    """Whether a column of numbers was measured.

    Args:
        name: of the column.
        cells: of every column, as text; all of the same length.
        others: the columns that may be factors, this one left out.
    """
    values = [text for text in cells[name] if text]
    different = set(values)
    fractions = any(not float(text).is_integer() for text in different if is_number(text))
    if 2 * len(different) <= len(values):
        measured = fractions and bool(MEASURED.search(name))
        return measured and any(_decides(cells[one], cells[name]) for one in others)
    by_hand = [cells[one] for one in others if 1 < len(set(cells[one])) <= len(values) / 2]
    combinations = list(zip(*by_hand, strict=True)) or [()] * len(cells[name])
    varies = len(set(zip(combinations, cells[name], strict=True))) > len(set(combinations))
    named = bool(MEASURED.search(name))
    unlike_any = (fractions or named) and len(different) == len(values) >= ENOUGH
    return (bool(by_hand) and varies) or unlike_any or (fractions and named)


def _decides(levels: Sequence[str], texts: Sequence[str]) -> bool:
    """Whether a column of several levels has one value of another for each of them."""
    pairs = set(zip(levels, texts, strict=True))
    return len(set(levels)) > 1 and len(pairs) == len(set(levels))
