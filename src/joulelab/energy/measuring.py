"""Measure a block of code or a function with one line.

::

    with joulelab.measure("epoch") as m:          @joulelab.measured
        train()                                    def train(): ...
    print(m)                                       train()
    m.energy_j, m["gpu:0"].net_j                   train.measurements[-1]

Windows may nest and overlap, and be opened in one thread and closed in another. A meter reads the
machine, not the block: other threads or tasks of the event loop that run meanwhile are included.
"""
# ruff: noqa: ANN401 - a decorated function takes and gives whatever it did before

from __future__ import annotations

import functools
import reprlib
from collections import deque
from collections.abc import Callable
from types import MethodType
from typing import Any, ParamSpec, Protocol, Self, TypeVar, Unpack, overload

from joulelab.energy.measurement import Measurement
from joulelab.energy.monitor import Measuring, Options, shared_monitor
from joulelab.energy.same_form import around
from joulelab.errors import UsageError

P = ParamSpec("P")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)
KEPT = 1000
_REMADE: dict[type, Callable[[Any, Callable[..., Any]], Any]] = {
    classmethod: lambda one, again: type(one)(again(one.__func__)),
    staticmethod: lambda one, again: type(one)(again(one.__func__)),
    property: lambda one, again: one.getter(again(one.fget)),
    functools.cached_property: lambda one, again: type(one)(again(one.func)),
    functools.partialmethod: lambda one, again: type(one)(
        again(one.func), *one.args, **one.keywords
    ),
    MethodType: lambda one, again: MethodType(again(one.__func__), one.__self__),
}
"""Descriptors that wrap a function in a class; they are rebuilt around the measured one."""


def measure(label: str = "", **options: Unpack[Options]) -> Measuring:
    """Measure a block of code: ``with joulelab.measure("epoch") as m: ...``.

    Args:
        label: what is measured, for the result.
        options: see `joulelab.energy.monitor.Options`; measurements with the same options share
            their meters.

    Raises:
        MeterError: on entry, if meters cannot be opened or, with ``strict=True``, nothing can be
            measured.
    """
    return Measuring(functools.partial(shared_monitor, **options), label)


def measure_idle(duration_s: float = 2.0, **options: Unpack[Options]) -> dict[str, float]:
    """Measure idle power while the caller waits, so that later windows have net energy.

    Args:
        duration_s: duration in seconds.
        options: options of the later measurements.

    Returns:
        Watts by domain.
    """
    return shared_monitor(**options).measure_idle(duration_s)


class Measured(Protocol[P, R_co]):
    """A function whose calls are measured.

    Attributes:
        measurements: of its last calls, newest last, at most 1,000.
    """

    measurements: deque[Measurement]

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
        """Call the function and measure it."""

    @overload
    def __get__(self, instance: None, owner: type | None = None, /) -> Self: ...

    @overload
    def __get__(self, instance: object, owner: type | None = None, /) -> Measured[..., R_co]: ...


@overload
def measured(function: Callable[P, R], /) -> Measured[P, R]: ...


@overload
def measured(
    function: None = None, /, *, label: str | None = None, **options: Unpack[Options]
) -> Callable[[Callable[P, R]], Measured[P, R]]: ...


def measured(
    function: Callable[..., Any] | None = None,
    /,
    *,
    label: str | None = None,
    **options: Unpack[Options],
) -> Callable[..., Any]:
    """A decorator that measures every call of a function.

    Otherwise the function behaves as before: kind, parameters, attributes, values sent and thrown
    in, results and cleanup. Coroutines and generators are measured from their first step until they
    finish, including whatever runs while they wait. The results are in ``function.measurements``.

    Args:
        function: what to measure: a function of any kind, a class or static method or a property
            (over or under their decorators), a `functools.partial`, or an object with ``__call__``.
        label: for the results; default: the function's name.
        options: as for `measure`.

    Raises:
        UsageError: `function` is a class, or cannot be called.
    """
    if function is None:
        decorator: Callable[..., Any] = functools.partial(_measured, label=label, options=options)
        return decorator
    wrapper: Callable[..., Any] = _measured(function, label=label, options=options)
    return wrapper


def _measured(function: Any, *, label: str | None, options: Options) -> Any:
    again = functools.partial(_measured, label=label, options=options)
    for kind, remade in _REMADE.items():
        if isinstance(function, kind):
            return remade(function, again)
    if isinstance(function, type) or not callable(function):
        what = "a class" if isinstance(function, type) else f"of type {type(function).__name__}"
        raise UsageError(
            f"{reprlib.repr(function)} cannot be measured: it is {what}, not a function",
            "decorate the functions or methods that do the work; "
            'pass options by name: @joulelab.measured(label="epoch")',
        )
    results: deque[Measurement] = deque(maxlen=KEPT)
    named = function.func if isinstance(function, functools.partial) else function
    name = label or str(getattr(named, "__qualname__", type(named).__qualname__))

    class Kept(Measuring):
        def __exit__(self, *error: Any) -> None:
            super().__exit__(*error)
            if self._result is not None:
                results.append(self._result)

    wrapper: Any = around(function, lambda: Kept(lambda: shared_monitor(**options), name), again)
    object.__setattr__(wrapper, "measurements", results)
    return wrapper
