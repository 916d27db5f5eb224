"""Costs of batches by size on this machine: time and energy of successive batches.

For a size b, n batches are computed within one measured window of T seconds with energy E:

    s(b) = T_1 + ... + T_n / n        the mean of the batches' own times
    c(b) = E_net / n                  joules above idle, including the time between batches

Several windows of one size are pooled.

A table has one row per window; rows of one size are pooled (`BatchTable.sizes`), and the planner
takes the pooled ones (`BatchTable.costs`). A table is kept as a JSON file, validated when read.
"""

from __future__ import annotations

import json
import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from joulelab.energy.reading import Status, Total
from joulelab.errors import JoulelabError, UsageError
from joulelab.serving.planning.costs import BatchCosts
from joulelab.serving.results import Batches

LOAD = 0.5
"""Share of time in batches when timing for a queue: a batch after a wait takes longer than a back-
to-back one, because caches are cold and threads asleep."""
TO_TELL = 2.8
"""Difference in standard errors that is detected with a power of 80 % at p below .05."""
READY = "ready"
"""Name of images that were prepared tensors on the device."""
SCHEMA_VERSION = 1
CONTENT = "costs of batches"


@dataclass(frozen=True)
class SizeProfile:
    """Batches of one size.

    Attributes:
        size: images in a batch, after halving if they did not fit in memory.
        asked: requested batch size.
        batches: number of batches.
        seconds: mean time of a batch.
        scatter: relative standard deviation of the times of single batches; 0 for a single one.
        duration_s: of the window.
        energy: of the window.
        remarks: what happened on the way.
    """

    size: int
    asked: int
    batches: int
    seconds: float
    scatter: float
    duration_s: float
    energy: Total
    remarks: tuple[str, ...] = ()

    @classmethod
    def of(cls, batches: Batches, duration_s: float, energy: Total) -> SizeProfile:
        """The profile of a window with batches."""
        times = [float(one) for one in batches.durations_s]
        mean = statistics.fmean(times)
        return cls(
            batches.size,
            batches.asked,
            len(times),
            mean,
            statistics.stdev(times) / mean if len(times) > 1 else 0.0,
            duration_s,
            energy,
            batches.remarks,
        )

    @classmethod
    def pooled(cls, profiles: Sequence[SizeProfile]) -> SizeProfile:
        """Pool several windows with batches of one size.

        Args:
            profiles: of the same size, at least one.
        """
        batches = sum(one.batches for one in profiles)
        mean_s = sum(one.seconds * one.batches for one in profiles) / batches
        squares = sum(
            (one.batches - 1) * (one.scatter * one.seconds) ** 2
            + one.batches * (one.seconds - mean_s) ** 2
            for one in profiles
        )
        return cls(
            profiles[0].size,
            max(one.asked for one in profiles),
            batches,
            mean_s,
            math.sqrt(squares / (batches - 1)) / mean_s if batches > 1 else 0.0,
            math.fsum(one.duration_s for one in profiles),
            _added([one.energy for one in profiles]),
            tuple(dict.fromkeys(remark for one in profiles for remark in one.remarks)),
        )

    @property
    def images(self) -> int:
        """Number of computed images."""
        return self.size * self.batches

    @property
    def net_j(self) -> float | None:
        """Joules of a batch above idle; ``None`` where unknown."""
        return None if self.energy.net_j is None else max(self.energy.net_j, 0.0) / self.batches

    @property
    def gross_j_per_image(self) -> float | None:
        """Joules of an image, including idle power, while the server is always busy.

        Excludes idle energy between batches; includes it if idle power is unknown.
        """
        if self.energy.gross_j is None:
            return None
        waited_s = max(self.duration_s - self.batches * self.seconds, 0.0)
        return (self.energy.gross_j - (self.idle_w or 0.0) * waited_s) / self.images

    @property
    def net_j_per_image(self) -> float | None:
        """Joules of an image above idle."""
        return None if self.net_j is None else self.net_j / self.size

    @property
    def error_j_per_image(self) -> float | None:
        """Bound of the sensors' error of `gross_j_per_image`."""
        return None if self.energy.error_j is None else self.energy.error_j / self.images

    @property
    def idle_w(self) -> float | None:
        """Idle power of the domains that count, in watts; ``None`` where it is unknown."""
        if self.energy.idle_j is None or self.duration_s <= 0:
            return None
        return self.energy.idle_j / self.duration_s


def batch_costs(profiles: Sequence[SizeProfile]) -> BatchCosts:
    """The costs for the planner.

    Args:
        profiles: of different sizes, at least one.
    """
    ordered = sorted(profiles, key=lambda one: one.size)
    joules = [one.net_j for one in ordered]
    known = [value for value in joules if value is not None]
    idle = [one.idle_w for one in ordered if one.idle_w is not None]
    return BatchCosts(
        tuple(one.size for one in ordered),
        tuple(one.seconds for one in ordered),
        tuple(known) if len(known) == len(joules) else None,
        statistics.fmean(idle) if idle else None,
        tuple(one.scatter for one in ordered),
    )


def joint_status(profiles: Sequence[SizeProfile]) -> Status:
    """The common status of energies; measured if there are none."""
    return Status.of_sum([Status.MEASURED, *(one.energy.status for one in profiles)])


def _added(energies: Sequence[Total]) -> Total:
    """The summed energies of successive windows; error bounds add up."""

    def total(values: Sequence[float | None]) -> float | None:
        known = [value for value in values if value is not None]
        return math.fsum(known) if len(known) == len(values) else None

    gross_j = total([one.gross_j for one in energies])
    error_j = total([one.error_j for one in energies])
    parts = [(one.status, one.too_short) for one in energies]
    status = Status.of_sum(map(Status, Status.within_sum(parts, gross_j, error_j)))
    return Total(
        status,
        gross_j,
        total([one.idle_j for one in energies]),
        error_j,
        tuple(dict.fromkeys(name for one in energies for name in one.domains)),
        tuple(dict.fromkeys(name for one in energies for name in one.sources)),
        total([one.idle_error_j for one in energies]),
        too_short=status is Status.ESTIMATED
        and all(one.too_short or one.status is Status.MEASURED for one in energies),
    )


@dataclass(frozen=True)
class BatchTable:
    """Measured batches of one model.

    Attributes:
        model: as the user calls it.
        weights: of the model.
        machine: processor or graphics card, in words.
        device: ``"cpu"`` or ``"cuda:<index>"``.
        threads: of torch on the CPU.
        images: name of the images, or `READY`.
        resize: shorter side to which they were scaled, in pixels.
        crop: side of the model's input, in pixels.
        measured_at: when, ISO 8601.
        windows: in order of measurement; includes batches of one image.
        remarks: what happened on the way.
    """

    model: str
    weights: str
    machine: str
    device: str
    threads: int
    images: str
    resize: int
    crop: int
    measured_at: str
    windows: tuple[SizeProfile, ...]
    remarks: tuple[str, ...] = ()

    @cached_property
    def sizes(self) -> tuple[SizeProfile, ...]:
        """The pooled windows of each size, smallest size first."""
        sizes = sorted({one.size for one in self.windows})
        return tuple(
            SizeProfile.pooled([one for one in self.windows if one.size == size]) for size in sizes
        )

    @property
    def costs(self) -> BatchCosts:
        """The costs for the planner."""
        return batch_costs(self.sizes)

    @property
    def largest(self) -> int:
        """The largest size that was measured."""
        return self.sizes[-1].size

    @property
    def status(self) -> Status:
        """Of all energies together."""
        return joint_status(self.windows)

    @property
    def sources(self) -> tuple[str, ...]:
        """Sources of the energies, each once."""
        return tuple(dict.fromkeys(name for one in self.windows for name in one.energy.sources))

    @property
    def relative_error(self) -> float | None:
        """Bound of the sensors' error over the energy, of the worst size; ``None``: unknown.

        It is mostly a common factor for all sizes.
        """
        shares = []
        for one in self.sizes:
            if one.energy.error_j is None or not one.energy.gross_j:
                return None
            shares.append(one.energy.error_j / one.energy.gross_j)
        return max(shares)

    @property
    def repeatability(self) -> float | None:
        """Largest relative deviation of windows of one size from their mean.

        For gross energy per image, or time if no energy is known; ``None`` if no size was measured
        twice.
        """
        return max((abs(one) for them in self._distances() for one in them), default=None)

    def times_to_tell(self, difference: float) -> float | None:
        """By what factor to measure longer to distinguish costs that differ by a share.

        Assumes equal scatter of all sizes, which falls with the root of the number of windows.

        Args:
            difference: share by which two costs differ, above 0.

        Returns:
            ``None`` where no size was measured twice.
        """
        distances = self._distances()
        if not distances:
            return None
        free = sum(len(them) - 1 for them in distances)
        variance = math.fsum(one**2 for them in distances for one in them) / free
        fewest = min(map(len, distances))
        return max(1.0, 2 * TO_TELL**2 * variance / difference**2 / fewest)

    def _distances(self) -> list[list[float]]:
        """Relative deviations of windows from the mean of their size, for sizes with several."""
        energy_known = all(one.gross_j_per_image is not None for one in self.windows)
        distances = []
        for size in self.sizes:
            values = [
                one.gross_j_per_image if energy_known else one.seconds
                for one in self.windows
                if one.size == size.size
            ]
            known = [value for value in values if value is not None]
            mean = math.fsum(known) / len(known)
            if len(known) > 1 and mean > 0:
                distances.append([(value - mean) / mean for value in known])
        return distances


Count = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0)]
Joules = Annotated[float, Field(ge=0)] | None


class Entry(BaseModel):
    """An entry of a file with a table: every key is known, and every number finite."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, frozen=True)


class _Energy(Entry):
    status: Literal["measured", "partly estimated", "estimated", "missing"]
    gross_j: Joules
    idle_j: Joules
    error_j: Joules
    domains: tuple[str, ...]
    sources: tuple[str, ...]
    idle_error_j: Joules = None
    too_short: bool = False


class _Window(Entry):
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


class _File(Entry):
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


def write_data(path: Path, data: Mapping[str, Any]) -> None:
    """Write plain data as JSON, for tables of batches and of tokens.

    Args:
        path: of the file, which is overwritten; it may be a pipe or a link.
        data: of a table.

    Raises:
        JoulelabError: the file cannot be written.
    """
    text = json.dumps(data, indent=2, allow_nan=False)
    try:
        path.write_text(f"{text}\n", encoding="utf-8")
    except OSError as error:
        raise JoulelabError(
            f"{path} cannot be written: {error.strerror or error}", "choose another file"
        ) from error


def read_saved(path: Path) -> bytes:
    """The content of a file with a table, unchecked.

    Raises:
        UsageError: it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise UsageError(
            f"{path} cannot be read: {error.strerror or error}",
            "give a table written by --save",
        ) from error


def write_table(path: Path, table: BatchTable) -> None:
    """Write a table as JSON.

    Args:
        path: of the file, which is overwritten.
        table: of one model.

    Raises:
        JoulelabError: the file cannot be written.
    """
    write_data(path, table_data(table))


def read_table(path: Path) -> BatchTable:
    """Read a table written by `write_table`.

    Args:
        path: of the file.

    Raises:
        UsageError: it cannot be read, or a key in it is missing, unknown or impossible.
    """
    try:
        table = _File.model_validate_json(read_saved(path)).table()
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
