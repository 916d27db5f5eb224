"""A measured block of code, running or finished.

::

    synchronise | open ... samples ... | synchronise, close

If torch has work on a GPU, the device is synchronised at both edges, so a window contains exactly
its own kernels.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from joulelab.budget import Budget
from joulelab.energy import overlap
from joulelab.energy.agreement import Agreement
from joulelab.energy.block_result import BlockResult
from joulelab.energy.ending import known_spent
from joulelab.energy.gathering import Gathering
from joulelab.energy.measurement import Measurement
from joulelab.energy.meter import Hidden
from joulelab.energy.open_meters import OpenMeters
from joulelab.energy.options import picklable
from joulelab.energy.order import Block, already_started, no_result
from joulelab.energy.rank_notes import beside_recorder, other_environments, unread_gpus
from joulelab.energy.ranks import here
from joulelab.energy.reading import Reading
from joulelab.energy.recorder import Window
from joulelab.energy.shared_meters import shared_meters
from joulelab.energy.synchronising import synchronised
from joulelab.energy.traces.trace_file import TraceAbout, write_trace
from joulelab.errors import BudgetSpentError, MeterError

if TYPE_CHECKING:
    import pandas as pd


class Measuring(Block, BlockResult):
    """A measured block of code, running or finished; created by `measure`.

    Args:
        meters: returns those that measure it.
        label: what is measured, for the result.
        environments: of the measured programs, which determine their GPUs; default: that of this
            process. The GPUs of the other ranks on this node count too.

    After the block it has what a `Measurement` has: ``m.energy_j``, ``m["gpu:0"]``, ``print(m)``. A
    second ``with`` on the same object measures again. `uuids` are those of its GPUs. It can be
    pickled and copied before and after the block; a copy has the result and the samples, and opens
    its own meters to measure again.
    """

    def __init__(
        self,
        meters: Callable[[], OpenMeters],
        label: str,
        environments: Sequence[Mapping[str, str]] | None = None,
    ) -> None:
        self.label = label
        self.budget: Budget | None = None
        self.on_budget: Literal["raise", "flag"] = "raise"
        self.over = False
        self.gathering: Gathering | None = None
        self.agreement: Agreement | None = None
        self.uuids: dict[str, str] = {}
        self._meters = meters
        self._about: TraceAbout | None = None
        self._environments = environments
        self._hidden = Hidden()
        self._span = overlap.Span(label, frozenset(), None)
        self._opened: OpenMeters | None = None
        self._window: Window | None = None
        self._result: Measurement | None = None
        self._own: Measurement | None = None
        self._flags: list[str] = []

    def start(self) -> None:
        """Open the window, for use without ``with``.

        Raises:
            MeterError: it is already open, or the meters cannot be opened.
        """
        if self._opened is not None:
            raise already_started(self.label)
        meters = self._meters()
        self._flags = meters.occupation.enter(self.label)
        try:
            self._flags += synchronised()
            if self.gathering is not None:
                self.gathering.begin()
            self._hidden = self._hidden_here(meters)
            rank = here()
            self._flags += [*unread_gpus(rank, len(meters.uuids)), *beside_recorder(rank)]
            self._window = meters.recorder.open(self.label)
        except BaseException:
            meters.occupation.leave()
            raise
        self._opened, self._result, self._own, self._about = meters, None, None, None
        self._span = overlap.begin(self.label, meters.devices)

    def _look_at_ranks(self) -> None:
        """See what the GPUs of ranks are that may have begun later."""
        if self._opened is not None and here().of_several:
            self._hidden = self._hidden_here(self._opened)

    def _hidden_here(self, meters: OpenMeters) -> Hidden:
        """What no rank on this node can use."""
        own = self._environments or [os.environ]
        return meters.hidden_from([*own, *other_environments(here())])

    def stop(self) -> Measurement:
        """Close the window and return its result; a second call returns the same.

        Raises:
            MeterError: it was never opened.
        """
        if self._opened is None or self._window is None:
            return self.result
        meters = self._opened
        flags = synchronised()
        try:
            measurement = self._window.close()
            overlap.end(self._span)
            self._look_at_ranks()
            flags = [*self._flags, *flags, *self._span.flags]
            self._own = meters.finish(measurement, self._window, flags, self._hidden)
            self._result = self._own
        finally:
            overlap.end(self._span)
            self._opened = None
            meters.occupation.leave()
        self.uuids = meters.uuids
        if self.gathering is not None:
            self._result = self.gathering.end(self._own, self.uuids)
        return self._result

    @property
    def of_node(self) -> Measurement:
        """The measurement of this node alone, where `result` is the sum over several.

        Raises:
            MeterError: the block has not finished.
        """
        return self.result if self._own is None else self._own

    def check(self) -> bool:
        """Whether the budget of `joulelab.measure` is spent.

        Raises:
            BudgetSpentError: it is, and ``on_budget`` is ``"raise"``.
            MeterError: what was spent is unknown.
        """
        if self.budget is None:
            return False
        amount = known_spent(self.so_far(), self.budget)
        said = f"{self.budget.words(amount)} of a budget of {self.budget} are spent"
        return self._check(said, over=amount >= self.budget.amount)

    def _check(self, said: str, *, over: bool) -> bool:
        """Whether any node's budget is spent."""
        self.over = self.agreement.any_over(over) if self.agreement else over
        if self.over and self.on_budget == "raise":
            raise BudgetSpentError(
                said if over else f"a budget of {self.budget} is spent, as another rank says",
                "give more, or end here",
            )
        return self.over

    def so_far(self) -> Measurement:
        """The result until now; the window stays open.

        Raises:
            MeterError: it was never started.
        """
        if self._opened is None or self._window is None:
            return self.result
        self._look_at_ranks()
        flags = [*self._flags, *self._span.flags]
        return self._opened.finish(self._window.so_far(), self._window, flags, self._hidden)

    @property
    def open_window(self) -> Window:
        """The window while it is open.

        Raises:
            MeterError: it is not.
        """
        if self._opened is None or self._window is None:
            raise MeterError(f"{self.label!r} is not being measured", "start it first")
        return self._window

    @property
    def result(self) -> Measurement:
        """The measurement of the finished block.

        Raises:
            MeterError: the block has not finished.
        """
        if self._result is None:
            raise no_result(self.label, started=self._opened is not None)
        return self._result

    def __getitem__(self, domain: str) -> Reading:
        """The reading of a domain: of this node, unless another one is named: ``m["b/gpu:0"]``."""
        return (self.result if "/" in domain else self.of_node)[domain]

    def trace(self) -> pd.DataFrame:
        """The samples of the finished block, one row per sample and channel.

        Columns as in `joulelab.energy.summary.trace_columns`.
        """
        import pandas as pd

        return pd.DataFrame(self.window.trace_columns())

    def save_trace(self, path: str | Path) -> None:
        """Write the samples of the finished block as Parquet or CSV, by file suffix."""
        write_trace(Path(path), self.window.trace_columns(), self._trace_about())

    def _trace_about(self) -> TraceAbout:
        """Metadata of the samples; the meters are read when first needed."""
        if self._about is None:
            window, recorder = self.window, self._meters().recorder
            self._about = TraceAbout.of(recorder, window.label, window.started_at)
        return self._about

    def __getstate__(self) -> dict[str, Any]:
        """Everything but the meters, the other windows, and the environments, which hold secrets.

        Raises:
            MeterError: the block has not finished.
        """
        if self._opened is not None:
            raise MeterError(
                f"{self.label!r} is still being measured and cannot be pickled or copied",
                "leave the block first, or use so_far(), which can be",
            )
        if self._result is not None:
            self._trace_about()
        left_here = {
            "_meters": _elsewhere(self._meters, self.label),
            "_environments": None,
            "gathering": None,
            "agreement": None,
            "_span": overlap.Span(self.label, frozenset(), None),
        }
        return {**vars(self), **left_here}

    @property
    def window(self) -> Window:
        """The window of the finished block, with its samples.

        Raises:
            MeterError: the block has not finished.
        """
        if self._window is None or self._result is None:
            raise no_result(self.label, started=self._opened is not None)
        return self._window

    def __str__(self) -> str:
        return str(self._result) if self._result else repr(self)

    def __repr__(self) -> str:
        state = "open" if self._opened else "finished" if self._result else "not begun"
        return f"<joulelab.measure({self.label!r}): {state}>"

    def _repr_html_(self) -> str:
        """HTML for a notebook."""
        return self._result._repr_html_() if self._result else f"<code>{self!r}</code>"


def _elsewhere(meters: Callable[[], OpenMeters], label: str) -> Callable[[], OpenMeters]:
    """Gets the meters of a copy, possibly in another process."""
    if isinstance(meters, functools.partial) and meters.func is shared_meters:
        return functools.partial(shared_meters, **picklable(meters.keywords))
    return functools.partial(_without_meters, label)


def _without_meters(label: str) -> OpenMeters:
    raise MeterError(
        f"this copy of {label!r} has no meters", "measure again with joulelab.measure(...)"
    )
