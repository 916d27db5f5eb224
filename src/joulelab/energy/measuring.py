"""Measure a block of code or a function with one line.

::

    with joulelab.measure("epoch") as m:          @joulelab.measured
        train()                                    def train(): ...
    print(m)                                       train()
    m.energy_j, m["gpu:0"].net_j                   train.measurements[-1]

Windows may nest and overlap, and be opened in one thread and closed in another. A meter reads the
machine, not the block: other threads or tasks of the event loop that run meanwhile are included.

Of the ranks of a distributed program the first on each node measures, and rank 0 has the sum over
nodes (`joulelab.energy.ranks`, `joulelab.energy.gathering`).

A measured function keeps its form. A wrapper with ``*args, **kwargs`` would behave differently:
wrong arguments of a coroutine or generator function are then only refused at the first step, and
frameworks see no parameters. So the wrapper of a function is compiled, as `dataclasses` compiles
``__init__``, with the function's parameters and kind: plain, coroutine, generator or asynchronous
generator. A callable object is replaced by a proxy that forwards everything but the call.
"""
# ruff: noqa: ANN401 - a decorated function takes and gives whatever it did before

from __future__ import annotations

import copy
import functools
import inspect
import math
import reprlib
import sys
from collections import deque
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractContextManager, suppress
from types import FunctionType, MethodType, SimpleNamespace, coroutine
from typing import Any, Literal, ParamSpec, Protocol, Self, TypeVar, Unpack, overload

from joulelab.budget import check_on_budget
from joulelab.energy.agreement import agreement
from joulelab.energy.ending import window_budget
from joulelab.energy.gathering import gathering
from joulelab.energy.measured_block import Measuring
from joulelab.energy.measurement import Measurement
from joulelab.energy.options import Options
from joulelab.energy.other_rank import OtherRank
from joulelab.energy.ranks import here
from joulelab.energy.shared_meters import shared_meters
from joulelab.errors import MeterError, UsageError
from joulelab.sinks.measuring import SentMeasuring
from joulelab.sinks.named import Named

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


def measure(
    label: str = "",
    *,
    budget: str | None = None,
    on_budget: Literal["raise", "flag"] = "raise",
    to: Named | None = None,
    gather: bool = True,
    **options: Unpack[Options],
) -> Measuring:
    """Measure a block of code: ``with joulelab.measure("epoch") as m: ...``.

    Args:
        label: what is measured, for the result.
        budget: in joules, watt-hours, time or CO2e: ``"20 kJ"``; ``m.check()`` in the block says
            whether it is spent.
        on_budget: then ``m.check()`` raises, or sets ``m.over``.
        to: where values go while it is measured: ``"run.csv"``, ``"prometheus:9400"``, or several;
            see `joulelab.sinks`; of several nodes those of the first.
        gather: whether rank 0 has the sum over nodes, if there are several, and waits a moment for
            it after the block; else each node has its own.
        options: see `joulelab.energy.options.Options`; measurements with the same options share
            their meters.

    Raises:
        MeterError: on entry, if meters cannot be opened or, with ``strict=True``, nothing can be
            measured.
        UsageError: the budget is not an amount, or in CO2e and there is no place; `on_budget` is
            something else; a sink is unknown or, on entry, cannot be opened.
    """
    check_on_budget(on_budget, ("raise", "flag"))
    measuring = _measuring(label, to, options, gather=gather)
    if budget is not None:
        measuring.budget = window_budget(budget, options.get("place"))
        measuring.on_budget = on_budget
        measuring.agreement = agreement(here(), label, budget)
    return measuring


def _measuring(label: str, to: Named | None, options: Options, *, gather: bool) -> Measuring:
    """What measures in this process, as its rank is."""
    meters = functools.partial(shared_meters, **options)
    rank = here()
    if not rank.records:
        return OtherRank(meters, label, rank)
    first = rank.node == 0
    measuring = SentMeasuring(meters, label, to) if to and first else Measuring(meters, label)
    measuring.gathering = gathering(rank, label, gather=gather)
    return measuring


def measure_idle(duration_s: float = 2.0, **options: Unpack[Options]) -> dict[str, float]:
    """Measure idle power while the caller waits, so that later windows have net energy.

    Args:
        duration_s: duration in seconds.
        options: options of the later measurements.

    Returns:
        Watts by domain.

    Raises:
        UsageError: the duration is not above 0.
    """
    if not 0 < duration_s < math.inf:
        raise UsageError(f"idle power of {duration_s:g} s is not possible", "give seconds above 0")
    return shared_meters(**options).measure_idle(duration_s)


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
    function: None = None,
    /,
    *,
    label: str | None = None,
    gather: bool = False,
    **options: Unpack[Options],
) -> Callable[[Callable[P, R]], Measured[P, R]]: ...


def measured(
    function: Callable[..., Any] | None = None,
    /,
    *,
    label: str | None = None,
    gather: bool = False,
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
        gather: as for `measure`; a call does not wait for other nodes unless asked to.
        options: as for `measure`.

    Raises:
        UsageError: `function` is a class, or cannot be called.
    """
    if function is None:
        decorator: Callable[..., Any] = functools.partial(
            _measured, label=label, gather=gather, options=options
        )
        return decorator
    wrapper: Callable[..., Any] = _measured(function, label=label, gather=gather, options=options)
    return wrapper


def _measured(function: Any, *, label: str | None, gather: bool, options: Options) -> Any:
    again = functools.partial(_measured, label=label, gather=gather, options=options)
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

    def window() -> _Kept:
        return _Kept(_measuring(name, None, options, gather=gather), results)

    wrapper: Any = _around(function, window, again)
    object.__setattr__(wrapper, "measurements", results)
    return wrapper


class _Kept:
    """The window around a call; its result is kept."""

    def __init__(self, measuring: Measuring, results: deque[Measurement]) -> None:
        self._measuring = measuring
        self._results = results

    def __enter__(self) -> Measuring:
        return self._measuring.__enter__()

    def __exit__(self, *error: Any) -> None:
        self._measuring.__exit__(*error)
        with suppress(MeterError):  # there is none if measuring has failed too
            self._results.append(self._measuring.result)


Window = Callable[[], AbstractContextManager[Any]]
"""Returns the context manager around a call."""

_PLAIN = """
def call({parameters}):
    with {own}.window():
        return {own}.function({arguments})
"""
_COROUTINE = """
async def call({parameters}):
    with {own}.window():
        return await {own}.function({arguments})
"""
# Values pass through a box that releases them: a variable would keep an item alive until the next
# one, and an error in a cycle with its traceback. An error is thrown on after its handler is left,
# so the inner code sees no additional error context. Not `yield from`, which closes on
# GeneratorExit and does not return.
_GENERATOR = """
def call({parameters}):
    with {own}.window():
        inner = {own}.function({arguments})
        step, box = inner.send, [None]
        while True:
            try:
                box.append(step(box.pop()))
            except StopIteration as end:
                return end.value
            try:
                box.append((yield box.pop()))
                step = inner.send
            except BaseException as error:
                box.append(error)
                step = inner.throw
"""
_ASYNC_GENERATOR = """
async def call({parameters}):
    with {own}.window():
        inner = {own}.function({arguments})
        box = [{own}.begin(inner)]
        while True:
            try:
                box.append(await box.pop())
            except StopAsyncIteration:
                return
            try:
                box.append(inner.asend((yield box.pop())))
            except BaseException as error:
                box.append(inner.athrow(error))
"""
_OWN = "__joulelab__"
"""Name in the compiled code for everything that is not a parameter of the function."""


def _around(function: Callable[..., Any], window: Window, again: Callable[[Any], Any]) -> Any:
    """A callable of the same form: kind, parameters, names, attributes.

    Args:
        function: the function; also an object with ``__call__``, or a `functools.partial`.
        window: around each call; around a coroutine or generator from its first step to its end,
            also where it is closed, or thrown into, or collected.
        again: recreates the wrapper for a copy of `function` if that is an object; must be
            picklable if the result is to be.
    """
    call = _call(function, window)
    return call if isinstance(function, FunctionType) else _standing_for(function, call, again)


def _around_function(function: FunctionType, window: Window) -> FunctionType:
    if inspect.iscoroutinefunction(function):
        template = _COROUTINE
    elif inspect.isasyncgenfunction(function):
        template = _ASYNC_GENERATOR
    elif inspect.isgeneratorfunction(function):
        template = _GENERATOR
    else:
        template = _PLAIN
    parameters, arguments = _parameters(function)
    text = template.format(own=_OWN, parameters=parameters, arguments=arguments)
    own = SimpleNamespace(window=window, function=function, begin=_begin)
    namespace: dict[str, Any] = {_OWN: own}
    exec(compile(text, "<around a function>", "exec"), namespace)
    wrapper: FunctionType = namespace["call"]
    wrapper.__defaults__, wrapper.__kwdefaults__ = function.__defaults__, function.__kwdefaults__
    code = function.__code__
    wrapper.__code__ = wrapper.__code__.replace(co_name=code.co_name, co_qualname=code.co_qualname)
    functools.update_wrapper(wrapper, function)
    if code.co_flags & inspect.CO_ITERABLE_COROUTINE:
        coroutine(wrapper)
    return wrapper


def _parameters(function: FunctionType) -> tuple[str, str]:
    """The parameter declarations of a function, without defaults, and the arguments to pass on.

    >>> def f(a, /, b, *c, d=1, **e): ...
    >>> _parameters(f)
    ('a, /, b, *c, d, **e', 'a, b, *c, d=d, **e')
    """
    code = function.__code__
    names = list(code.co_varnames)
    positional = names[: code.co_argcount]
    by_name = names[code.co_argcount : code.co_argcount + code.co_kwonlyargcount]
    rest = names[code.co_argcount + code.co_kwonlyargcount :]
    declared, passed = list(positional), list(positional)
    if code.co_posonlyargcount:
        declared.insert(code.co_posonlyargcount, "/")
    if code.co_flags & inspect.CO_VARARGS:
        more = f"*{rest.pop(0)}"
        declared.append(more)
        passed.append(more)
    elif by_name:
        declared.append("*")
    declared += by_name
    passed += [f"{name}={name}" for name in by_name]
    if code.co_flags & inspect.CO_VARKEYWORDS:
        more = f"**{rest.pop(0)}"
        declared.append(more)
        passed.append(more)
    return ", ".join(declared), ", ".join(passed)


def _begin(inner: AsyncGenerator[Any, Any]) -> Awaitable[Any]:
    """The first step of an asynchronous generator, hidden from the event loop.

    The loop closes generators that it saw start: the outer one, which closes this one. If it knew
    both, it would close both at once, one in the middle of the other.
    """
    hooks = sys.get_asyncgen_hooks()
    sys.set_asyncgen_hooks(None, None)
    try:
        return inner.asend(None)
    finally:
        sys.set_asyncgen_hooks(*hooks)


_KEPT = frozenset({"__wrapped__", "__call__", "__get__", "__reduce_ex__", "measurements"})
_COMPARED_AND_SHOWN = frozenset(
    {
        *("__eq__", "__ne__", "__lt__", "__le__", "__gt__", "__ge__"),
        *("__hash__", "__repr__", "__str__", "__format__", "__dir__", "__sizeof__"),
    }
)
_NOT_PASSED_ON = (_KEPT | frozenset(dir(object)) | {"__del__", "__getattr__"}) - _COMPARED_AND_SHOWN


class _Stand:
    """A proxy of a callable object that forwards everything but the call."""

    def __getattribute__(self, name: str) -> Any:
        own = object.__getattribute__
        return own(self, name) if name in _KEPT else getattr(own(self, "__wrapped__"), name)

    def __setattr__(self, name: str, value: object) -> None:
        setattr(object.__getattribute__(self, "__wrapped__"), name, value)

    def __delattr__(self, name: str) -> None:
        delattr(object.__getattribute__(self, "__wrapped__"), name)


def _call(function: Any, window: Window) -> Callable[..., Any]:
    """The measured call, of the kind of the underlying Python function."""
    kind = type(function)
    if issubclass(kind, FunctionType):
        return _around_function(function, window)
    if issubclass(kind, MethodType):
        return MethodType(_call(function.__func__, window), function.__self__)
    if issubclass(kind, _Stand):
        return _call(function.__call__, window)
    if issubclass(kind, functools.partial) and not isinstance(function.func, type):
        call = _call(function.func, window)
        return functools.partial(call, *function.args, **function.keywords)
    own = inspect.getattr_static(kind, "__call__", None)
    if isinstance(own, FunctionType):
        return MethodType(_around_function(own, window), function)

    def plain(*args: Any, **kwargs: Any) -> Any:
        with window():
            return function(*args, **kwargs)

    return plain


def _standing_for(wrapped: Any, call: Callable[..., Any], again: Callable[[Any], Any]) -> Any:
    """A proxy with its own call."""
    kind = type(wrapped)

    def bound(self: object, instance: object, _: type | None = None) -> object:
        return self if instance is None else MethodType(self, instance)  # type: ignore[arg-type]

    # Python looks up special methods in the class, bypassing `__getattribute__`.
    special: dict[str, Any] = {
        name: _passed_on(name) for name in dir(kind) if _is_special(kind, name)
    }
    special["__call__"] = property(lambda _: call)
    special["__copy__"] = lambda _: again(copy.copy(wrapped))
    special["__deepcopy__"] = lambda _, memo: again(copy.deepcopy(wrapped, memo))
    special["__reduce_ex__"] = lambda *_: (again, (wrapped,))
    if hasattr(kind, "__get__"):
        special["__get__"] = bound
    stand = type(kind.__name__, (_Stand,), special)()
    object.__setattr__(stand, "__wrapped__", wrapped)
    return stand


def _is_special(kind: type, name: str) -> bool:
    return (
        name.startswith("__") and name not in _NOT_PASSED_ON and callable(getattr(kind, name, None))
    )


def _passed_on(name: str) -> Callable[..., Any]:
    def method(self: Any, *args: Any, **kwargs: Any) -> Any:
        wrapped = object.__getattribute__(self, "__wrapped__")
        return getattr(type(wrapped), name)(wrapped, *args, **kwargs)

    return method
