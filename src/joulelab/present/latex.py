r"""LaTeX: tables with booktabs, and a macro for every named number.

``numbers.tex`` has one ``\newcommand`` per number, ``tables.tex`` the tables, made of these macros;
so a number in the text of a paper and the same number in its table cannot differ::

    \usepackage{booktabs}    % in the preamble
    \usepackage{graphicx}
    \input{numbers}
    \input{tables}           % where the tables go
    reaches \JLTableIIIFashionMnistSimpleCNNGridThreeAccuracy{} after ...

A table wider than the page or column is scaled to its width.

Names of macros consist of letters, so digits are spelt out. If two numbers would have the same
macro, the later one gets additional letters.
"""

from __future__ import annotations

import itertools
import re
import string
from collections.abc import Iterable, Iterator, Mapping, Sequence

from joulelab.files import safe_name
from joulelab.present.parts import Cell, Table, stopped

DIGITS = ("Zero", "One", "Two", "Three", "Four", "Five", "Six", "Seven", "Eight", "Nine")
SIGNS = {".": "Point", "-": "Minus"}
WORD = re.compile(r"[A-Za-z]+|[0-9]|(?<=[0-9])\.(?=[0-9])|(?<!\w)-(?=[0-9])")
"""Letters, a digit, a decimal point, or the minus of a number."""
SYMBOLS = {
    "\\": r"\textbackslash{}",
    **{mark: f"\\{mark}" for mark in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": "$<$",
    ">": "$>$",
    "\N{MINUS SIGN}": "$-$",
    "\N{MULTIPLICATION SIGN}": r"$\times$",
    "\N{PLUS-MINUS SIGN}": r"$\pm$",
    "\N{EN DASH}": "--",
    "\N{SUPERSCRIPT TWO}": "$^2$",
    "\N{GREEK SMALL LETTER ALPHA}": r"$\alpha$",
    "\N{GREEK SMALL LETTER BETA}": r"$\beta$",
    "\N{GREEK SMALL LETTER EPSILON}": r"$\epsilon$",
    "\N{GREEK SMALL LETTER ETA}": r"$\eta$",
    "\N{GREEK SMALL LETTER RHO}": r"$\rho$",
    "\N{GREEK SMALL LETTER CHI}": r"$\chi$",
    "|": "$|$",
    # After the end of a row these two would be parsed as its arguments.
    "[": "{[}",
    "*": "{*}",
    "\n": " ",
    "\N{LEFT DOUBLE QUOTATION MARK}": "``",
    "\N{RIGHT DOUBLE QUOTATION MARK}": "''",
}
NUMBER = re.compile(r"^Table [IVX]+\. ")
COLUMN_CHARACTERS = 50
"""Characters that fit into a column of a two-column paper."""
HEADER = "% Written by `joulelab report`; the next report overwrites it."


def macro(name: Sequence[str]) -> str:
    r"""The macro of a number, with its backslash.

    Args:
        name: from the general to the particular.

    >>> print(macro(("table-iii", "cifar10", "SimpleCNN", "bayesian-pi", "5", "accuracy")))
    \JLTableIIICifarOneZeroSimpleCNNBayesianPiFiveAccuracy
    """
    words = re.findall(WORD, " ".join(_spoken(part) for part in name))
    return "\\JL" + "".join(_camel(word) for word in words)


def macros(names: Iterable[tuple[str, ...]]) -> dict[tuple[str, ...], str]:
    r"""A unique macro for each name.

    Args:
        names: in a stable order; names added at the end do not change the others.

    >>> for found in macros([("a-b",), ("a b",)]).values():
    ...     print(found)
    \JLAB
    \JLABB
    """
    found: dict[tuple[str, ...], str] = {}
    taken: set[str] = set()
    for name in dict.fromkeys(names):
        base = macro(name)
        command = next(c for end in _ends() if (c := base + end) not in taken)
        taken.add(command)
        found[name] = command
    return found


def _ends() -> Iterator[str]:
    """Nothing, B to Z, BB, BC and so on: macros have no digits, and one more is always there."""
    for length in itertools.count():
        yield from map("".join, itertools.product(string.ascii_uppercase[1:], repeat=length))


def escape(text: str) -> str:
    r"""Text for LaTeX.

    >>> print(escape("95.3 % of conv_layers"))
    95.3 \% of conv\_layers
    """
    return "".join(SYMBOLS.get(mark, mark) for mark in text)


def numbers(named: Iterable[tuple[tuple[str, ...], str]]) -> str:
    """The file ``numbers.tex``.

    Args:
        named: name and text of every number, those of the tables first, as they are there.

    Raises:
        ValueError: two different numbers have the same name.
    """
    texts: dict[tuple[str, ...], str] = {}
    for name, text in named:
        if texts.setdefault(name, text) != text:
            raise ValueError(f"{name} would be {texts[name]} and {text}")
    commands = macros(texts)
    lines = [f"\\newcommand{{{commands[name]}}}{{{escape(text)}}}" for name, text in texts.items()]
    return "\n".join([HEADER, *lines, ""])


def tables(made: Iterable[Table]) -> str:
    """The file ``tables.tex``: needs booktabs, graphicx and the macros of ``numbers.tex``."""
    every = list(made)
    commands = macros(name for table in every for name, _ in named(table))
    labels: dict[str, str] = {}
    texts = [
        _table(table, commands, safe_name(table.key.removeprefix("table-"), labels))
        for table in every
    ]
    return "\n\n".join([HEADER, *texts, ""])


def named(table: Table) -> Iterator[tuple[tuple[str, ...], str]]:
    """Name and text of every number of a table that has a name."""
    for row in table.cells():
        for cell in row:
            if cell.name:
                yield cell.name, cell.text


def _table(table: Table, commands: Mapping[tuple[str, ...], str], label: str) -> str:
    headings, cells, groups = table.headings(), table.cells(), table.groups()
    narrow = _characters(headings, cells, groups) <= COLUMN_CHARACTERS
    environment = "table" if narrow else "table*"
    # LaTeX numbers its tables itself.
    title = NUMBER.sub("", table.title)
    lines = [
        f"\\begin{{{environment}}}[t]",
        r"\centering",
        f"\\caption{{{escape(stopped(title))} {escape(table.note)}}}",
        f"\\label{{tab:joulelab-{label}}}",
        r"\sbox0{%",
        f"\\begin{{tabular}}{{{''.join('l' if one.words else 'r' for one in table.columns)}}}",
        r"\toprule",
        *(_group_header(groups) if any(group for group, _ in groups) else ()),
        " & ".join(map(escape, headings)) + r" \\",
        r"\midrule",
        *(" & ".join(_cell(cell, commands) for cell in row) + r" \\" for row in cells),
        r"\bottomrule",
        r"\end{tabular}}%",
        r"\ifdim\wd0>\linewidth\resizebox{\linewidth}{!}{\usebox0}\else\usebox0\fi",
        f"\\end{{{environment}}}",
    ]
    return "\n".join(lines)


def _characters(
    headings: Sequence[str], cells: Sequence[Sequence[Cell]], groups: Sequence[tuple[str, int]]
) -> int:
    """Width of a table in characters, with two between its columns."""
    own = [
        max(len(heading), *(len(row[at].text) for row in cells), 0)
        for at, heading in enumerate(headings)
    ]
    above = [max(map(len, group.split(", "))) for group, _ in groups]
    return max(sum(own), sum(above)) + 2 * len(own)


def _group_header(groups: Sequence[tuple[str, int]]) -> Iterator[str]:
    cells = [f"\\multicolumn{{{width}}}{{c}}{{{_lines(group)}}}" for group, width in groups]
    yield " & ".join(cells) + r" \\"
    first = 1
    for group, width in groups:
        if group:
            yield f"\\cmidrule(lr){{{first}-{first + width - 1}}}"
        first += width


def _lines(group: str) -> str:
    """A heading of several columns, a line a part, for these columns are narrow."""
    first, *rest = map(escape, group.split(", "))
    return f"\\shortstack{{{first},\\\\{', '.join(rest)}}}" if rest else first


def _cell(cell: Cell, commands: Mapping[tuple[str, ...], str]) -> str:
    text = f"{commands[cell.name]}{{}}" if cell.name in commands else escape(cell.text)
    return f"\\textbf{{{text}}}" if cell.bold else text


def _spoken(part: str) -> str:
    """Signs that distinguish clusters, in letters."""
    return {"E+": "EPlus", "E-": "EMinus"}.get(part, part)


def _camel(word: str) -> str:
    if word in SIGNS:
        return SIGNS[word]
    if word.isdigit():
        return DIGITS[int(word)]
    return word.upper() if word in {"i", "ii", "iii", "iv", "v"} else word[0].upper() + word[1:]
