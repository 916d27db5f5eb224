"""Where results are written, and looked for, when no folder is named."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from joulelab.files import shortened

OUTPUT_FOLDER = Path("joulelab-out")
LONGEST = 120


def default_folder(study: str, overrides: Sequence[str], scale: float | None = None) -> Path:
    """The results folder where none is given: the same for the same command.

    Args:
        study: as on the command line; a results folder is its own.
        overrides: each ``--set``; they tell one variant of a study from another.
        scale: of a miniature.
    """
    path = Path(study).expanduser()
    if path.is_dir():
        return path
    of_scale = [] if scale is None else [f"scale-{scale:g}"]
    settings = [re.sub(r"[^A-Za-z0-9.]+", "-", text).strip("-") for text in overrides]
    name = "-".join([path.stem, *of_scale, *settings])
    if len(name) > LONGEST:
        name = shortened(name, "\n".join([path.stem, *of_scale, *overrides]), LONGEST)
    return OUTPUT_FOLDER / name
