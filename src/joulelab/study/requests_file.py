"""What became of each request of a served window: a Parquet file an attempt."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from joulelab.errors import StoreCorruptError
from joulelab.study.store_reading import OnDamage

SECONDS = ("due_s", "sent_s", "started_s", "answered_s")


def read_requests(path: Path, on_damage: OnDamage) -> Iterator[tuple[str, pd.DataFrame]]:
    """The run that a file belongs to, and a row a request; nothing where it is damaged.

    Args:
        path: of the file.
        on_damage: is told why it cannot be read, where it does not raise.

    Raises:
        StoreCorruptError: what `on_damage` raises.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(path)
        run_id = (table.schema.metadata or {}).get(b"run_id", b"").decode()
        seconds = [table.schema.field(name) for name in SECONDS]
        if wrong := [one.name for one in seconds if not pa.types.is_floating(one.type)]:
            raise ValueError(f"the column {wrong[0]} holds no numbers")
        frame = table.to_pandas()
    except (OSError, KeyError, ValueError, pa.ArrowException) as error:
        message = f"{path} cannot be read: {error}"
        on_damage(StoreCorruptError(message, "restore it from a copy, or take it away"))
    else:
        yield run_id, frame
