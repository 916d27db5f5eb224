"""A callable around another one that cannot be told from it, but by what is done around each call.

A wrapper of ``*args, **kwargs`` can be told: a coroutine or generator function takes wrong
arguments and refuses them at its first step, frameworks that read its parameters see none. So the
wrapper of a function is compiled, as `dataclasses` compiles ``__init__``, with the function's own
parameters and as its own kind: plain, coroutine, generator or asynchronous generator. An object
that can be called is stood for by one that passes on all but the call.
"""
# ruff: noqa: ANN401 - a wrapped callable takes and gives whatever it did before

from __future__ import annotations

import copy
import functools
import inspect
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AbstractContextManager
from types import FunctionType, MethodType, SimpleNamespace, coroutine
from typing import Any

Window = Callable[[], AbstractContextManager[Any]]
"""Gives what is entered before a call and left after it."""

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
# What goes in and out passes through a box that lets go of it: a name would keep an item alive
# until the next one, and an error in a circle with its traceback. An error is thrown on after its
# handler has been left, so that the code inside sees no error that it did not see before. Not
# `yield from`, which closes where GeneratorExit was thrown and never comes back.
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
"""By this name compiled code knows what is not a parameter of the function."""


def around(function: Callable[..., Any], window: Window, again: Callable[[Any], Any]) -> Any:
    """A callable of the same form: kind, parameters, names, attributes.

    Args:
        function: what is called; also an object with ``__call__``, or a `functools.partial`.
        window: around each call; around a coroutine or generator from its first step to its end,
            also where it is closed, or thrown into, or collected.
        again: gives the same anew for a copy of `function`, where that is an object; picklable if
            what comes out is to be.
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
    """How the parameters of a function are declared, without defaults, and how they are passed on.

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
    """The first step of an asynchronous generator that the event loop does not get to see.

    The loop closes those that it has seen begin: the one around it, which closes this one. Were
    both known to it, it would close both at once, and one of them in the middle of the other.
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
    """Stands for an object that can be called: all but its call is passed on to it."""

    def __getattribute__(self, name: str) -> Any:
        own = object.__getattribute__
        return own(self, name) if name in _KEPT else getattr(own(self, "__wrapped__"), name)

    def __setattr__(self, name: str, value: object) -> None:
        setattr(object.__getattribute__(self, "__wrapped__"), name, value)

    def __delattr__(self, name: str) -> None:
        delattr(object.__getattribute__(self, "__wrapped__"), name)


def _call(function: Any, window: Window) -> Callable[..., Any]:
    """The measured call, of the kind of the Python function that is at the bottom of it."""
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
    """An object that stands for another one and has a call of its own."""
    kind = type(wrapped)

    def bound(self: object, instance: object, _: type | None = None) -> object:
        return self if instance is None else MethodType(self, instance)  # type: ignore[arg-type]

    # Python looks for special methods in the class, where `__getattribute__` is not asked.
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
