"""Read a results folder, even while another process writes to it.

Content is checked by type (`joulelab.study.schema`), and rows are checked against the study file
and each other (`RowAgreement`).
"""

from __future__ import annotations

import contextlib
import itertools
import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from joulelab.errors import StoreCorruptError, StoreError, quoted
from joulelab.files import FileLock
from joulelab.plain import PlainDataError, is_there, parse_json, parse_toml, read_text
from joulelab.study.database import DATABASE, check_version, explained, store_error, version
from joulelab.study.key_locations import error_keys
from joulelab.study.schema import (
    COLUMNS,
    StoredManifest,
    StoredStudy,
    columns_before,
    rows_of,
)

REQUESTS = "requests"
"""Folder with one file per served window."""
CURVES = "curves"
"""Folder with one file per run that has reported metrics while it ran."""
MOST_BYTES = 1 << 28
"""Size limit of the manifest and the study file."""
ROWS_AT_ONCE = 500
LEAST_ROW_BYTES = 50
TICK_NS = 100_000_000
"""Longer than the time resolution of a file system, in nanoseconds."""
RESTORE = "restore the folder from a copy; `joulelab export` writes the rows that can be read"
ORDER = {
    "runs": ("position",),
    "rounds": ("experiment", "configuration", "round"),
    "ledger": ("entry",),
}

OnDamage = Callable[[StoreError], None]


def refuse(damage: StoreError) -> None:
    """Refuse any damage.

    Raises:
        StoreCorruptError: the damage.
    """
    raise damage


@contextlib.contextmanager
def reader(folder: Path) -> Iterator[sqlite3.Connection]:
    """A read-only connection, usable while another process writes.

    Raises:
        StoreError: the folder has no study, or cannot be read.
    """
    path = folder / DATABASE
    if not path.is_file():
        raise StoreError(
            f"{folder} does not hold a study", "give a folder written by `joulelab run`"
        )
    # In a read-only folder a WAL database can only be opened as immutable.
    immutable = "" if os.access(folder, os.W_OK) else "&immutable=1"
    with explained(folder):
        connection = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro{immutable}", uri=True)
        try:
            check_version(connection, folder)
            _check_tables(connection, folder)
            yield connection
        finally:
            connection.close()


def _check_tables(connection: sqlite3.Connection, folder: Path) -> None:
    """A view instead of a table could run arbitrary, endless computations."""
    names = ", ".join(f"'{name}'" for name in COLUMNS)
    query = f"SELECT name FROM sqlite_master WHERE type != 'table' AND name IN ({names})"
    if found := connection.execute(query).fetchone():
        raise StoreCorruptError(f"{folder / DATABASE}: {found[0]} is not a table", RESTORE)


def read_rows(
    folder: Path,
    table: str,
    on_damage: OnDamage = refuse,
    where: str = "TRUE",
    values: Sequence[Any] = (),
    columns: Sequence[str] = (),
) -> Iterator[list[dict[str, Any]]]:
    """The rows of a table of any store version, in chunks of a few hundred.

    Rows of ``runs`` are in the order of the plan. Each is validated; JSON columns are parsed.

    Args:
        folder: with results.
        table: ``"runs"``, ``"rounds"`` or ``"ledger"``.
        on_damage: called for every invalid or unreadable row. If it does not raise, the row is
            skipped.
        where: an SQL condition on the rows, with a ``?`` for each value.
        values: of the condition.
        columns: default: all that are read.

    Raises:
        StoreError: as for `reader`.
        StoreCorruptError: raised by `refuse`.
    """
    columns = tuple(columns or COLUMNS[table])
    with reader(folder) as connection:
        connection.text_factory = _text
        asked = _Asked(table, columns, where, tuple(values))
        for rows in _raw_rows(connection, folder, asked, on_damage):
            yield _fitting(
                folder,
                asked,
                [dict(zip(("rowid", *columns), row, strict=True)) for row in rows],
                on_damage,
            )


def stored_states(folder: Path) -> dict[str, str]:
    """The state of every run by its id.

    Raises:
        StoreError: as for `reader`.
    """
    with reader(folder) as connection:
        return dict(connection.execute("SELECT run_id, state FROM runs").fetchall())


@dataclass(frozen=True)
class _Asked:
    """Rows that are asked for."""

    table: str
    columns: tuple[str, ...]
    where: str
    values: tuple[Any, ...]


def _raw_rows(
    connection: sqlite3.Connection, folder: Path, asked: _Asked, on_damage: OnDamage
) -> Iterator[list[tuple[Any, ...]]]:
    table = asked.table
    absent = columns_before(version(connection), table)
    selected = ", ".join(f"{absent.get(name, name)} AS {name}" for name in asked.columns)
    query = f"SELECT rowid, {selected} FROM {table} WHERE ({asked.where})"
    seen: set[int] = set()
    try:
        cursor = connection.execute(f"{query} ORDER BY {', '.join(ORDER[table])}", asked.values)
        while rows := cursor.fetchmany(ROWS_AT_ONCE):
            seen.update(row[0] for row in rows)
            yield rows
    except sqlite3.DatabaseError as error:
        if getattr(error, "sqlite_errorcode", 0) & 0xFF != sqlite3.SQLITE_CORRUPT:
            raise
        on_damage(store_error(folder, error))
        numbers = _numbers(connection, folder, table, seen)
        found = filter(None, (_row(connection, query, (*asked.values, n)) for n in numbers))
        read = len(seen)
        while rows := list(itertools.islice(found, ROWS_AT_ONCE)):
            read += len(rows)
            yield rows
        lost = _lost(connection, table, read)
        on_damage(
            StoreCorruptError(f"{folder / DATABASE}: {lost} of {table} cannot be read", RESTORE)
        )


def _lost(connection: sqlite3.Connection, table: str, read: int) -> str:
    """Number of unread rows, counted by an index."""
    try:
        count = connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
    except sqlite3.DatabaseError:
        return "an unknown number of rows"
    return f"{max(count - read, 0):,} rows"


def _numbers(
    connection: sqlite3.Connection, folder: Path, table: str, seen: set[int]
) -> Iterator[int]:
    """Possible row numbers of a table that were not seen."""
    most = (folder / DATABASE).stat().st_size // LEAST_ROW_BYTES
    with contextlib.suppress(sqlite3.DatabaseError):
        most = min(most, connection.execute(f"SELECT max(rowid) FROM {table}").fetchone()[0] or 0)
    return (number for number in range(1, most + 1) if number not in seen)


def _row(
    connection: sqlite3.Connection, query: str, values: Sequence[Any]
) -> tuple[Any, ...] | None:
    """A single row, with its number as the last value; ``None`` if unreadable or missing."""
    try:
        row: tuple[Any, ...] | None = connection.execute(
            f"{query} AND rowid = ?", values
        ).fetchone()
    except sqlite3.DatabaseError:
        return None
    return row


def _text(raw: bytes) -> str | bytes:
    """A text of the database; invalid UTF-8 stays bytes, which fail validation."""
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw


def _fitting(
    folder: Path, asked: _Asked, rows: list[dict[str, Any]], on_damage: OnDamage
) -> list[dict[str, Any]]:
    """The valid rows of a table, parsed."""
    table, checked = asked.table, rows_of(asked.table, asked.columns)
    numbers = [row.pop("rowid") for row in rows]
    validated: list[dict[str, Any]]
    try:
        validated = checked.validate_python(rows)
        return validated
    except ValidationError as error:
        wrong: dict[int, ErrorDetails] = {}
        for details in error.errors(include_url=False):
            wrong.setdefault(int(details["loc"][0]), details)
    for place, details in wrong.items():
        where = f"{folder / DATABASE}: row {numbers[place]} of {table}"
        name = rows[place].get("run_id")
        on_damage(
            _misfit(f"{where} ({name})" if isinstance(name, str) else where, details, _parsed(rows))
        )
    validated = checked.validate_python([r for n, r in enumerate(rows) if n not in wrong])
    return validated


def _parsed(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The rows with their JSON parsed if possible, to find a key in it."""

    def parsed(value: Any) -> Any:  # noqa: ANN401 - any cell
        with contextlib.suppress(PlainDataError):
            return (
                parse_json(value) if isinstance(value, str) and value[:1] in ("{", "[") else value
            )
        return value

    return [{name: parsed(value) for name, value in row.items()} for row in rows]


def _misfit(where: str, details: ErrorDetails, data: Any) -> StoreCorruptError:  # noqa: ANN401
    """A validation error in words."""
    keys = error_keys(details, data)
    key = ".".join(str(one) for one in keys if not isinstance(data, list) or one is not keys[0])
    said = details["msg"].removeprefix("Value error, ")
    value = "" if details["type"] == "missing" else f" = {quoted(details['input'])}"
    return StoreCorruptError(f"{where}: {key}{value}: {said[:1].lower()}{said[1:]}", RESTORE)


def last_written(folder: Path) -> tuple[tuple[int, int], ...]:
    """Size and modification time in nanoseconds of the database's non-empty files.

    Args:
        folder: with results.
    """
    told = []
    for name in (DATABASE, f"{DATABASE}-wal"):
        with contextlib.suppress(FileNotFoundError):
            about = (folder / name).stat()
            told.append((about.st_size, about.st_mtime_ns))
    return tuple(one for one in told if one[0])


def read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a results folder; empty if none was written yet.

    Raises:
        StoreCorruptError: it is not JSON, or has an invalid value.
    """
    path = folder / "manifest.json"
    if not is_there(path):
        return {}
    return _checked(path, parse_json, StoredManifest)


def read_study(folder: Path) -> dict[str, Any]:
    """The resolved study file of a results folder.

    Raises:
        StoreCorruptError: it is missing, not TOML, or has an invalid value.
    """
    return _checked(folder / "study.toml", parse_toml, StoredStudy)


def _checked(path: Path, parse: Callable[[str], Any], model: type[BaseModel]) -> dict[str, Any]:
    if is_there(path) and not path.is_file():  # reading a pipe would wait for a writer
        raise StoreCorruptError(f"{path} cannot be read: it is not a regular file", RESTORE)
    try:
        data = parse(read_text(path, MOST_BYTES))
    except PlainDataError as error:
        where = f"{path}: {'.'.join(error.keys)}" if error.keys else f"{path}"
        raise StoreCorruptError(f"{where} cannot be read: {error}", RESTORE) from None
    try:
        model.model_validate(data)
    except ValidationError as error:
        raise _misfit(str(path), error.errors(include_url=False)[0], data) from None
    return cast(dict[str, Any], data)


def is_running(folder: Path) -> bool:
    """Whether a process is writing to the folder."""
    lock = FileLock(folder / ".lock", make=False)
    if lock.holder() is not None:  # without taking the lock, which a writer may want just now
        return True
    try:
        return not lock.try_to_take()
    except OSError:
        return False
    finally:
        lock.give_back()


def data_sets(manifest: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The data sets in a manifest; the oldest manifests have only one.

    Args:
        manifest: of a results folder.
    """
    if "data_sets" in manifest:
        return list(manifest["data_sets"])
    return [manifest["data"]] if manifest.get("data") else []


class RowAgreement:
    """Consistency of rows with the study file and each other.

    Args:
        folder: with results.
        study: its study file.
        on_damage: called for each inconsistent row.

    Attributes:
        factors: names of the factors of each experiment.
    """

    def __init__(self, folder: Path, study: Mapping[str, Any], on_damage: OnDamage) -> None:
        self.factors: dict[str, list[str]] = {}
        self._place = folder / DATABASE
        self._kinds = {name: table["kind"] for name, table in study["experiment"].items()}
        self._on_damage = on_damage
        self._ids: set[str] = set()
        self._places: set[tuple[Any, ...]] = set()
        self._levels: dict[tuple[str, str], Mapping[str, Any]] = {}

    def kept(self, rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
        """The consistent rows.

        Args:
            rows: of ``runs``.

        Raises:
            StoreCorruptError: what `on_damage` raises.
        """
        kept = []
        for row in rows:
            if wrong := self._disagreement(row):
                message = f"{self._place}: the run {quoted(row['run_id'])}: {wrong}"
                self._on_damage(StoreCorruptError(message, RESTORE))
            else:
                kept.append(row)
        return kept

    def _disagreement(self, row: Mapping[str, Any]) -> str:
        """The inconsistency of a row in words; empty if none."""
        experiment, configuration = row["experiment"], row["configuration"]
        key = (experiment, configuration)
        if experiment not in self._kinds:
            return f"study.toml has no experiment {quoted(experiment)}"
        if row["kind"] != self._kinds[experiment]:
            said = f"its kind is {quoted(row['kind'])}"
            return f"{said}, and {quoted(self._kinds[experiment])} in study.toml"
        place = (*key, row["round"], row["repetition"])
        if place in self._places or row["run_id"] in self._ids:
            return "another run has the same id, or the same round and repetition"
        if list(row["factors"]) != self.factors.setdefault(experiment, list(row["factors"])):
            return f"its factors differ from those of the other runs of {quoted(experiment)}"
        if row["factors"] != self._levels.setdefault(key, row["factors"]):
            return "its levels differ from those of the other runs of its configuration"
        self._ids.add(row["run_id"])
        self._places.add(place)
        return ""


def check_folder(folder: Path) -> None:
    """Read a whole results folder, to refuse a damaged one.

    Args:
        folder: with results.

    Raises:
        StoreCorruptError: says where.
    """
    read_manifest(folder)
    agreement = RowAgreement(folder, read_study(folder), refuse)
    for table in COLUMNS:
        for rows in read_rows(folder, table):
            if table == "runs":
                agreement.kept(rows)
