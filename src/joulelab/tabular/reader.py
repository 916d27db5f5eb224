"""Read the bytes of a file as a table of named columns, whatever program wrote it.

::

    bytes                 unpacked if gzipped; Parquet as it is; else UTF-8, UTF-16, or else
                          Windows' Western code page
    lines                 any line ending; blank lines and comments (#) left out
      preamble            lines before the header, written by a program
      header              the first line with as many fields as the rows; or, as of nvidia-smi dmon,
                          a comment with as many names, perhaps followed by one of units
      rows                a header that stands there again (an appended file) is left out
      half a line         at the end, where the writer was killed, is left out
    cells                 text, unchanged; numbers and times are parsed on demand

The delimiter is the one that splits the lines into equal numbers of fields: comma, semicolon, tab,
bar, or blanks. Every row keeps its line number, so that an error can name it.
"""

from __future__ import annotations

import codecs
import csv
import gzip
import io
import re
import zlib
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from joulelab import formats
from joulelab.errors import JoulelabError
from joulelab.optional import optional
from joulelab.tabular.table import Heading, Table

if TYPE_CHECKING:
    import pandas as pd

READING = "reading Parquet"
PARQUET_MAGIC = b"PAR1"
GZIP_MAGIC = b"\x1f\x8b"
CUT = "the last line is cut off and was left out"
COMMENT = "#"
BLANKS = " "
"""Any number of blanks, also at the beginning of a line."""
DELIMITERS = (",", ";", "\t", "|", BLANKS)
LOOKED_AT = 200
"""Lines that decide on the delimiter."""
WHAT = "a table must be Parquet or delimited text"
_FOR_EXCEL = re.compile(r'^"?sep=.?"?(?=\n)')
_LOST = re.compile(r"[^\n\0]*\0{8,}")
"""Zero bytes left by a crash, and the truncated line before them."""
_ROW_BEGINS = re.compile(r"\s*[\d\"'\[+\-.,;|]")
"""What a row of values begins with; the words of a program do not."""
_QUOTED = re.compile(r'"[^"]*"')
_PLAIN_NUMBER = re.compile(r"[-+]?(\d+[.,]?\d*|[.,]\d+)([eE][-+]?\d+)?")
_STAMP = re.compile(
    r"\[?\d{1,4}[-/.]\w{1,3}[-/.]\d{1,4}"
    r"([T :]\d\d?:\d\d(:\d\d([.,]\d+)?)?\s*([ap]m|z|utc|gmt|[+-]\d\d:?\d\d)?)?\]?",
    re.IGNORECASE,
)
_DECIMAL_COMMA, _DECIMAL_POINT = re.compile(r"[-+]?\d+,\d+"), re.compile(r"[-+]?\d+\.\d+")
_SURE_COMMA = re.compile(r"[-+]?(0,\d+|\d+,(\d{1,2}|\d{4,}))")
"""With three digits after it, a comma may stand between thousands."""


class _Line(NamedTuple):
    number: int
    text: str


@dataclass(frozen=True)
class _Layout:
    """How to split the lines of a text."""

    delimiter: str
    header: Sequence[str]
    units: Sequence[str]
    rows: Sequence[_Line]
    has_header: bool
    remarks: tuple[str, ...]


def read_table(path: Path, error_class: type[JoulelabError] = JoulelabError) -> Table:
    """Read a file as a table.

    Args:
        path: Parquet, or a text with a delimiter; the name does not matter.
        error_class: exception class for errors of the file and, later, of the table.

    Raises:
        JoulelabError: of `error_class`: the file cannot be read, is empty or is not a table, or a
            line has more or fewer fields than there are columns.
    """
    content = read_bytes(path, error_class)
    if content.startswith(PARQUET_MAGIC):
        return _parquet(path, error_class)
    return parse_table(path, content, error_class)


def read_bytes(
    path: Path, error_class: type[JoulelabError], hint: str = "give a file with a header and rows"
) -> bytes:
    """The bytes of a file; unpacked if it is gzipped.

    Args:
        path: of the file.
        error_class: exception class.
        hint: what an empty file should have.

    Raises:
        JoulelabError: of `error_class`: there is no file, or it may not be read, or it is empty.
    """
    try:
        content = path.read_bytes()
        if content.startswith(GZIP_MAGIC):
            content = gzip.decompress(content)
    except FileNotFoundError:
        raise error_class(f"{path} does not exist", "give an existing file") from None
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise error_class(f"{path} cannot be unpacked: {error}", "the file is damaged") from error
    except OSError as error:
        raise error_class(
            f"{path} cannot be read: {error.strerror or error}", "give a file that you can read"
        ) from error
    if not content.strip():
        raise error_class(f"{path} is empty", hint)
    return content


def parse_table(
    path: Path,
    content: bytes,
    error_class: type[JoulelabError],
    *,
    ends_lines: str = "",
    messages: bool = False,
) -> Table:
    """The table in the bytes of a text file.

    Args:
        path: of the file, for messages.
        content: of the file.
        error_class: as for `read_table`.
        ends_lines: if a heading contains this, the program that wrote the file ends every line: a
            last line without an end is cut off, however many fields it has.
        messages: leave out, with a remark, lines of words between the rows, such as errors that a
            program writes into its log.

    Raises:
        JoulelabError: as for `read_table`.
    """
    text, remarks = decode(path, content, error_class)
    layout = _layout(path, text, error_class, ends_lines, messages=messages)
    frame = _frame(path, layout, error_class)
    headings = {
        name: Heading.of(name, unit) for name, unit in zip(layout.header, layout.units, strict=True)
    }
    twice = _twice(layout.header, frame)
    frame = frame.loc[:, [layout.header.index(name) for name in dict.fromkeys(layout.header)]]
    frame.columns = list(dict.fromkeys(layout.header))
    return Table(
        path,
        frame,
        headings,
        lines=[line.number for line in layout.rows],
        remarks=(*remarks, *layout.remarks),
        error_class=error_class,
        has_header=layout.has_header,
        decimal_comma=layout.delimiter != "," and _has_decimal_commas(layout),
        twice=twice,
    )


def decode(
    path: Path, content: bytes, error_class: type[JoulelabError]
) -> tuple[str, tuple[str, ...]]:
    """The text in some bytes, and assumptions about its encoding.

    Args:
        path: where they are from, for messages.
        content: of the file.
        error_class: exception class.

    Raises:
        JoulelabError: of `error_class`: it is not text.
    """
    remarks: tuple[str, ...] = ()
    encoding = "utf-8-sig"
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        encoding = "utf-16"  # as Windows' PowerShell redirects
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError:
        # Every byte means something there; what is binary has others that no text has.
        text = content.decode("cp1252", errors="replace")
        remarks = ("it is not UTF-8; it was read as Windows-1252",)
        if any(ord(letter) < ord(" ") and letter not in "\t\n\r\f" for letter in text):
            text = "\0"
    if "\0" * 8 in text:
        text = _LOST.sub("\n", text)
        remarks = (*remarks, "bytes of zeros, as a crash leaves them, left out with half a line")
    if "\0" in text or (remarks and not text.strip()):
        raise error_class(f"{path} is neither Parquet nor text", WHAT)
    return text.replace("\r\n", "\n").replace("\r", "\n"), remarks


def _layout(
    path: Path, text: str, error_class: type[JoulelabError], ends_lines: str, *, messages: bool
) -> _Layout:
    lines = _lines(text)
    comments: list[_Line] = []
    plain = lines
    if COMMENT in text:
        comments = [line for line in lines if line.text.lstrip().startswith(COMMENT)]
        plain = [line for line in lines if not line.text.lstrip().startswith(COMMENT)]
    if not plain:
        raise error_class(f"{path} has no row", WHAT)
    delimiter, fields = _delimiter([line.text for line in plain[:LOOKED_AT]])
    remarks: list[str] = []
    header, units = _comment_header(comments, plain[0], delimiter, fields)
    has_header, repeats = True, set()
    if not header:
        first = _first(plain, delimiter, fields)
        if first:
            remarks.append(f"{formats.count(first, 'line')} before the header left out")
        header = _cells(plain[first].text, delimiter)
        units = [""] * len(header)
        has_header = not (_STAMP.fullmatch(header[0]) or all(_is_value(cell) for cell in header))
        repeats = {_plain_text(plain[first].text)} if has_header else set()
        plain = plain[first + has_header :]
        if not has_header:
            header = [str(number) for number in range(1, len(header) + 1)]
    rows = [line for line in plain if _plain_text(line.text) not in repeats]
    if again := len(plain) - len(rows):
        remarks.append(f"{formats.count(again, 'repeated header line')} left out")
    if has_header:
        _check_headers(path, rows, header, delimiter, error_class)
    if messages:
        rows, said = _without_messages(rows, delimiter, len(header))
        remarks += said
    if rows and not text.endswith("\n") and rows[-1].number == lines[-1].number:
        count = len(_cells(rows[-1].text, delimiter))
        ended = ends_lines and any(ends_lines in name for name in header)
        if len(rows) > 1 and (ended or count < len(header)):
            rows = rows[:-1]
            remarks.append(CUT)
    if not rows:
        raise error_class(f"{path} has a header but no rows", "record or export it again")
    return _Layout(delimiter, header, units, rows, has_header, tuple(remarks))


def _check_headers(
    path: Path,
    rows: Sequence[_Line],
    header: Sequence[str],
    delimiter: str,
    error_class: type[JoulelabError],
) -> None:
    """Refuse another header among the rows, below which the columns have another meaning."""
    first = header[0].casefold()
    if len(header) < 2:  # noqa: PLR2004
        return
    for line in rows:
        if not line.text.lstrip(' "').casefold().startswith(first):
            continue
        cells = _cells(line.text, delimiter)
        if cells[0].casefold() == first and not any(_is_value(cell) for cell in cells):
            raise error_class(
                f"{path}, line {line.number}: a second header, with other columns than the first",
                "split the file before that line, and read each part",
            )


def _without_messages(
    rows: Sequence[_Line], delimiter: str, width: int
) -> tuple[list[_Line], list[str]]:
    """The rows without lines that are words, and what was left out."""
    kept: list[_Line] = []
    out: list[_Line] = []
    for line in rows:
        odd = _count(line.text, delimiter) != width and not _ROW_BEGINS.match(line.text)
        values = odd and any(_is_value(cell) for cell in _cells(line.text, delimiter))
        (out if odd and not values else kept).append(line)
    if not out or not kept:
        return list(rows), []
    others = f" and {formats.count(len(out) - 1, 'more line')}" if len(out) > 1 else ""
    said = out[0].text.strip()[:60]
    return kept, [f"line {out[0].number}{others} left out, not a row: {said!r}"]


def _lines(text: str) -> list[_Line]:
    """The lines with anything on them; one whose quotation goes on below is one with the next.

    A first line that tells Excel the delimiter is nothing.
    """
    text = _FOR_EXCEL.sub("", text, count=1)
    lines = text.split("\n")
    if '"' not in text or all(line.count('"') % 2 == 0 for line in lines):
        return [_Line(number, line) for number, line in enumerate(lines, 1) if line.strip()]
    joined: list[_Line] = []
    waiting: list[str] = []
    for number, line in enumerate(lines, 1):
        waiting.append(line)
        if sum(part.count('"') for part in waiting) % 2 == 0:
            whole = "\n".join(waiting)
            if whole.strip():
                joined.append(_Line(number - len(waiting) + 1, whole))
            waiting = []
    return joined + [_Line(len(lines) - len(waiting) + 1, "\n".join(waiting))] * bool(waiting)


def _delimiter(texts: Sequence[str]) -> tuple[str, int]:
    """The delimiter that splits most lines into the same number of fields, and that number."""
    best: tuple[float, bool, int, int] = (0.0, False, 0, 0)
    chosen, fields = ",", 1
    below = [text.strip() for text in texts[1:]]
    if below and all(_STAMP.fullmatch(text) or _DECIMAL_COMMA.fullmatch(text) for text in below):
        return chosen, fields  # one column, with blanks or commas within its cells
    for rank, delimiter in enumerate(DELIMITERS):
        if delimiter == BLANKS and fields > 1:
            continue  # blanks stand within the fields of something else
        counts = Counter(_count(text, delimiter) for text in texts)
        usual, times = max(counts.items(), key=lambda item: (item[1], item[0]))
        begins = _count(texts[0], delimiter) == usual
        score = (times / len(texts), begins, usual, -rank)
        if usual > 1 and score > best and (begins or 2 * times > len(texts)):
            best, chosen, fields = score, delimiter, usual
    return chosen, fields


def _count(text: str, delimiter: str) -> int:
    bare = _QUOTED.sub("q", text) if '"' in text else text
    return len(bare.split()) if delimiter == BLANKS else bare.count(delimiter) + 1


def _cells(text: str, delimiter: str) -> list[str]:
    """The fields of one line, without blanks around."""
    if delimiter == BLANKS:
        rows = csv.reader(io.StringIO(re.sub(r"[ \t]+", " ", text.strip())), delimiter=" ")
    else:
        rows = csv.reader(io.StringIO(text), delimiter=delimiter, skipinitialspace=True)
    return [cell.strip() for cell in next(rows, [])]


def _comment_header(
    comments: Sequence[_Line], first: _Line, delimiter: str, fields: int
) -> tuple[list[str], list[str]]:
    """Names, and units if a second line has them, in the comments right above the first row."""
    above = [line for line in comments if line.number < first.number]
    cells = [_cells(line.text.strip().lstrip(COMMENT), delimiter) for line in above[-2:]]
    fit = [one for one in cells if len(one) == fields and fields > 1]
    row = _cells(first.text, delimiter)
    if not fit or not any(_is_value(cell) for cell in row):
        return [], []
    return (fit[0], fit[1]) if len(fit) > 1 else (fit[0], [""] * fields)


def _first(plain: Sequence[_Line], delimiter: str, fields: int) -> int:
    """The position of the header: the first line that is cut up about as the rows are."""
    for position, line in enumerate(plain):
        if 2 * _count(line.text, delimiter) > fields:
            return position
    return 0


def _is_value(cell: str) -> bool:
    """Whether a cell is a number or a time, so not a column name."""
    return bool(_PLAIN_NUMBER.fullmatch(cell) or _STAMP.fullmatch(cell))


def _plain_text(text: str) -> str:
    return "".join(text.split())


def _has_decimal_commas(layout: _Layout) -> bool:
    """Whether cells show a decimal comma; where semicolons make room for it, any comma does."""
    cells = [
        cell for line in layout.rows[:LOOKED_AT] for cell in _cells(line.text, layout.delimiter)
    ]
    sign = _DECIMAL_COMMA if layout.delimiter == ";" else _SURE_COMMA
    commas = any(sign.fullmatch(cell) for cell in cells)
    return commas and not any(_DECIMAL_POINT.fullmatch(cell) for cell in cells)


def _frame(path: Path, layout: _Layout, error_class: type[JoulelabError]) -> pd.DataFrame:
    """The rows as text, a column a position."""
    import pandas as pd

    width = len(layout.header)
    _check_width(path, layout, error_class)
    try:
        return pd.read_csv(
            io.StringIO("\n".join(line.text for line in layout.rows)),
            sep=r"\s+" if layout.delimiter == BLANKS else layout.delimiter,
            header=None,
            names=range(width),
            usecols=range(width),
            dtype=str,
            keep_default_na=False,
            skipinitialspace=layout.delimiter != BLANKS,
            skip_blank_lines=False,
            index_col=False,
        )
    except ValueError as error:  # pandas' own are among them
        reason = str(error).partition("\n")[0].strip()
        raise error_class(
            f"{path} cannot be read: {reason}", "check for a missing quotation mark"
        ) from None


def _check_width(path: Path, layout: _Layout, error_class: type[JoulelabError]) -> None:
    """Refuse a row with more or fewer fields than names; one more may be empty, at the end."""
    width, delimiter = len(layout.header), layout.delimiter
    for line in layout.rows:
        if delimiter != BLANKS and '"' not in line.text and line.text.count(delimiter) == width - 1:
            continue
        count = _count(line.text, delimiter)
        if count == width or (count == width + 1 and line.text.rstrip().endswith(delimiter)):
            continue
        raise error_class(
            f"{path}, line {line.number}: {formats.count(count, 'value')} "
            f"for {formats.count(width, 'column')}",
            "every row needs as many values as the header has names",
        )


def _twice(header: Sequence[str], frame: pd.DataFrame) -> frozenset[str]:
    """Names that stand above several columns whose cells differ."""
    differ = set()
    for name, times in Counter(header).items():
        if times > 1:
            places = [place for place, one in enumerate(header) if one == name]
            first = frame[places[0]]
            if not all(first.equals(frame[place]) for place in places[1:]):
                differ.add(name)
    return frozenset(differ)


def _without_index(frame: pd.DataFrame) -> pd.DataFrame:
    """The same with its index as a column, where it is more than the number of a row."""
    import pandas as pd

    if isinstance(frame.index, pd.RangeIndex) or (
        frame.index.name is None and not isinstance(frame.index, pd.DatetimeIndex)
    ):
        return frame.reset_index(drop=True)
    name = str(frame.index.name or "timestamp")
    return frame.reset_index(drop=name in frame.columns, names=name)


def _parquet(path: Path, error_class: type[JoulelabError]) -> Table:
    pa, parquet = optional("pyarrow", READING), optional("pyarrow.parquet", READING)
    try:
        # Not read_table, which turns folders named run=7 into columns.
        with parquet.ParquetFile(path) as file:
            frame = _without_index(file.read().to_pandas())
    except (pa.ArrowException, OSError, ValueError) as error:
        reason = str(error).partition("\n")[0]
        hint = "the Parquet file is truncated"
        raise error_class(f"{path} cannot be read: {reason}", hint) from error
    if frame.empty:
        raise error_class(f"{path} has columns but no rows", "record or export it again")
    frame.columns = [str(name) for name in frame.columns]
    headings = {name: Heading.of(name) for name in frame.columns}
    return Table(path, frame, headings, error_class=error_class)
