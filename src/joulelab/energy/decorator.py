"""The decorator that measures every call of a function.

::

    @joulelab.measured                        @joulelab.measured(label="epoch", meters=["nvml"])
    def train(): ...                          async def train(): ...

    train()
    train.measurements[-1].energy_j
"""
# ruff: noqa: ANN401 - a decorated function takes and gives whatever it did before

from __future__ import annotations

import functools
import inspect
from collections import deque
from collections.abc import AsyncGenerator, Callable, Generator
from typing import Any, ParamSpec, Protocol, TypeVar, Unpack, overload

from joulelab.energy.measuring import Measuring
from joulelab.energy.monitor import Options, shared_monitor
from joulelab.energy.reading import Measurement

P = ParamSpec("P")
R = TypeVar("R")
R_co = TypeVar("R_co", covariant=True)

KEPT = 1000


class Measured(Protocol[P, R_co]):
    """A function whose calls are measured.

    Attributes:
        measurements: of its last calls, the newest at the end, at most 1,000.
    """

    measurements: deque[Measurement]

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R_co:
        """Call the function and measure it."""


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

    Coroutine functions and generators are measured until they have finished, with whatever else
    runs while they wait. The results lie in ``function.measurements``.

    Args:
        function: what to measure.
        label: for the results; the function's name where not given.
        options: as for `measure`.
    """
    if function is None:
        return functools.partial(_measured, label=label, options=options)
    return _measured(function, label=label, options=options)


def _measured(
    function: Callable[..., Any], *, label: str | None, options: Options
) -> Callable[..., Any]:
    results: deque[Measurement] = deque(maxlen=KEPT)
    name = label or str(getattr(function, "__qualname__", "call"))

    class Kept(Measuring):
        def __exit__(self, *error: Any) -> None:
            super().__exit__(*error)
            if self._result is not None:
                results.append(self._result)

    def window() -> Kept:
        return Kept(lambda: shared_monitor(**options), name)

    wrapper = _wrapper(function, window)
    functools.update_wrapper(wrapper, function)
    wrapper.measurements = results  # type: ignore[attr-defined]
    return wrapper


def _wrapper(function: Callable[..., Any], window: Callable[[], Measuring]) -> Callable[..., Any]:
    """The function within a window, of the same kind: plain, coroutine or generator."""
    if inspect.iscoroutinefunction(function):

        async def coroutine(*args: Any, **kwargs: Any) -> Any:
            with window():
                return await function(*args, **kwargs)

        return coroutine
    if inspect.isasyncgenfunction(function):

        async def async_generator(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
            with window():
                async for item in function(*args, **kwargs):
                    yield item

        return async_generator
    if inspect.isgeneratorfunction(function):

        def generator(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
            with window():
                return (yield from function(*args, **kwargs))

        return generator

    def plain(*args: Any, **kwargs: Any) -> Any:
        with window():
            return function(*args, **kwargs)

    return plain
