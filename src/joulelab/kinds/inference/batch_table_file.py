"""A table of batches as a JSON file, validated when read."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from joulelab.energy.reading import Status, Total
from joulelab.errors import JoulelabError, UsageError
from joulelab.kinds.inference.batch_table import BatchTable, SizeProfile

SCHEMA_VERSION = 1
CONTENT = "costs of batches"

Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0)]
Joules = Annotated[float, Field(ge=0)] | None


class _Entry(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class _Energy(_Entry):
    status: Literal["measured", "partly estimated", "estimated", "missing"]
    gross_j: Joules
    idle_j: Joules
    error_j: Joules
    domains: tuple[str, ...]
    sources: tuple[str, ...]
    idle_error_j: Joules = None


class _Window(_Entry):
    size: Count
    asked: Count
    batches: Count
    seconds: Positive
    scatter: Annotated[float, Field(ge=0)]
    duration_s: Positive
    energy: _Energy
    remarks: tuple[str, ...]

    def profile(self) -> SizeProfile:
        energy = dict(self.energy) | {"status": Status(self.energy.status)}
        return SizeProfile(**dict(self) | {"energy": Total(**energy)})


class _File(_Entry):
    schema_version: Literal[1]
    content: Literal["costs of batches"]
    model: str
    weights: str
    machine: str
    device: str
    threads: Count
    images: str
    resize: Count
    crop: Count
    measured_at: str
    windows: Annotated[tuple[_Window, ...], Field(min_length=1)]
    remarks: tuple[str, ...]

    def table(self) -> BatchTable:
        given = {key: value for key, value in self if key not in ("schema_version", "content")}
        return BatchTable(**given | {"windows": tuple(one.profile() for one in self.windows)})


def table_data(table: BatchTable) -> dict[str, Any]:
    """A table as plain data.

    Args:
        table: of one model.
    """
    return {"schema_version": SCHEMA_VERSION, "content": CONTENT, **asdict(table)}


def write_table(path: Path, table: BatchTable) -> None:
    """Write a table as JSON.

    Args:
        path: of the file, which is overwritten.
        table: of one model.

    Raises:
        JoulelabError: the file cannot be written.
    """
    import json

    text = json.dumps(table_data(table), indent=2, allow_nan=False)
    try:
        path.write_text(f"{text}\n", encoding="utf-8")
    except OSError as error:
        raise JoulelabError(
            f"{path} cannot be written: {error.strerror or error}", "choose another file"
        ) from error


def read_table(path: Path) -> BatchTable:
    """Read a table written by `write_table`.

    Args:
        path: of the file.

    Raises:
        UsageError: it cannot be read, or a key in it is missing, unknown or impossible.
    """
    try:
        text = path.read_bytes()
    except OSError as error:
        raise UsageError(
            f"{path} cannot be read: {error.strerror or error}",
            "give a table written by --save",
        ) from error
    try:
        table = _File.model_validate_json(text).table()
    except ValidationError as error:
        raise _explained(path, error) from None
    _check(path, table)
    return table


def _explained(path: Path, error: ValidationError) -> UsageError:
    first = error.errors(include_url=False)[0]
    key = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in first["loc"])
    where = f"{path}: {key.lstrip('.')}" if key else str(path)
    said = first["msg"][:1].lower() + first["msg"][1:]
    return UsageError(f"{where}: {said}", "measure again and save the table with --save")


def _check(path: Path, table: BatchTable) -> None:
    if table.sizes[0].size != 1:
        raise UsageError(
            f"{path}: windows: batches of one image are missing",
            "all other sizes are compared with them: measure again",
        )
    for number, one in enumerate(table.windows):
        energy = one.energy
        if (energy.gross_j is None) != (energy.status is Status.MISSING):
            raise UsageError(
                f"{path}: windows[{number}].energy: gross_j is {energy.gross_j}, and its status "
                f"{energy.status}",
                "only a missing energy may be null",
            )
