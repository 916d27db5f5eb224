"""Tables of single runs in a results folder, requests and curves: gzipped CSV.

::

    # joulelab {"run_id": "tuning/3/0/2", "types": {"metric": "text", "step": "int", ...}}
    metric,step,value,t_s
    loss,1,0.93,12.1

Values are read back as they were written. Older versions wrote Parquet, which is read too.
"""

from __future__ import annotations

import gzip
import io
import json
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from joulelab.errors import StoreCorruptError
from joulelab.files import replacing
from joulelab.optional import optional

if TYPE_CHECKING:
    import pandas as pd

SUFFIX = ".csv.gz"
FIRST_LINE = "# joulelab "
TEXT = "text"
TYPES = {"f": "float", "i": "int", "u": "int", "b": "bool"}
"""By the kind of a NumPy type; anything else is text."""


def write_run_table(path: Path, run_id: str, columns: Mapping[str, Any]) -> None:
    """Write the table of a run.

    Args:
        path: of the file.
        run_id: of the run.
        columns: one value per row each.

    Raises:
        OSError: it cannot be written.
    """
    import pandas as pd

    frame = pd.DataFrame(dict(columns))
    types = {str(name): TYPES.get(column.dtype.kind, TEXT) for name, column in frame.items()}
    about = json.dumps({"run_id": run_id, "types": types})
    rows = frame.to_csv(index=False, lineterminator="\n")
    text = f"{FIRST_LINE}{about}\n{rows}"
    with replacing(path) as file:
        file.write(gzip.compress(text.encode("utf-8"), mtime=0))


def read_run_table(
    path: Path, seconds: Sequence[str], on_damage: Callable[[StoreCorruptError], None]
) -> Iterator[tuple[str, pd.DataFrame]]:
    """The run of a file, and its table; empty if damaged.

    Args:
        path: of the file.
        seconds: columns that it must have, with numbers.
        on_damage: called with the reason if it cannot be read; may raise.

    Raises:
        StoreCorruptError: raised by `on_damage`.
    """
    try:
        run_id, frame = (_read_parquet if path.suffix == ".parquet" else _read)(path)
        if wrong := [name for name in seconds if frame[name].dtype.kind != "f"]:
            raise ValueError(f"the column {wrong[0]} does not hold numbers")
    except (OSError, EOFError, zlib.error, KeyError, TypeError, ValueError) as error:
        message = f"{path} cannot be read: {error}"
        on_damage(StoreCorruptError(message, "restore it from a copy, or remove it"))
    else:
        yield run_id, frame


def _read(path: Path) -> tuple[str, pd.DataFrame]:
    import pandas as pd

    first, _, rows = gzip.decompress(path.read_bytes()).decode("utf-8").partition("\n")
    about = json.loads(first.removeprefix(FIRST_LINE))
    # Parsed as text first: pandas' own numbers may differ in the last digit.
    frame = pd.read_csv(io.StringIO(rows), dtype=str, keep_default_na=False)
    for name, kind in about["types"].items():
        if kind == "bool":
            frame[name] = frame[name] == "True"
        elif kind != TEXT:
            frame[name] = frame[name].replace("", "nan").astype(kind)
    return str(about["run_id"]), frame


def _read_parquet(path: Path) -> tuple[str, pd.DataFrame]:
    parquet = optional("pyarrow.parquet", f"{path} of an older joulelab")
    table = parquet.read_table(path)
    return (table.schema.metadata or {}).get(b"run_id", b"").decode(), table.to_pandas()
