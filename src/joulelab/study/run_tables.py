"""Tables of single runs in a results folder, requests and curves: gzipped CSV.

::

    # joulelab {"run_id": "tuning/3/0/2"}
    metric,step,value,t_s
    loss,1,0.93,12.1

Numbers are written so that they are read back as they were.
"""

from __future__ import annotations

import gzip
import io
import json
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd

from joulelab.errors import StoreCorruptError
from joulelab.files import replacing

SUFFIX = ".csv.gz"
FIRST_LINE = "# joulelab "


def write_run_table(path: Path, run_id: str, columns: Mapping[str, Any]) -> None:
    """Write the table of a run.

    Args:
        path: of the file.
        run_id: of the run.
        columns: one value per row each.

    Raises:
        OSError: it cannot be written.
    """
    rows = pd.DataFrame(dict(columns)).to_csv(index=False, lineterminator="\n")
    text = f"{FIRST_LINE}{json.dumps({'run_id': run_id})}\n{rows}"
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
        first, _, rows = gzip.decompress(path.read_bytes()).decode("utf-8").partition("\n")
        run_id = str(json.loads(first.removeprefix(FIRST_LINE))["run_id"])
        # Parsed as text first: pandas' own numbers may differ in the last digit.
        frame = pd.read_csv(
            io.StringIO(rows),
            dtype=dict.fromkeys(seconds, str),
            keep_default_na=False,
            na_values=[""],
        )
        frame = frame.astype(dict.fromkeys(seconds, float))
    except (OSError, EOFError, zlib.error, KeyError, TypeError, ValueError) as error:
        message = f"{path} cannot be read: {error}"
        on_damage(StoreCorruptError(message, "restore it from a copy, or remove it"))
    else:
        yield run_id, frame
