"""Programs around one decorator, each of which tells all that can be seen of what was decorated.

A program takes a decorator and a list to tell things to. With a decorator that does nothing and
with one that should do nothing else than measuring, the lists are equal.
"""

import abc
import asyncio
import contextlib
import copy
import functools
import gc
import inspect
import operator
import sys
import types
import typing
import warnings


def attempt(tell, call, *arguments, **named):
    """Tell what a call gives or raises, with the errors that led to that."""
    try:
        result = call(*arguments, **named)
    except BaseException as error:
        chain = []
        while error is not None:
            chain.append((type(error), str(error)))
            error = error.__cause__ or error.__context__
        tell(chain)
    else:
        tell(result)
        return result


def told_of(function):
    """What inspection says of a function."""
    return [
        inspect.isfunction(function),
        inspect.isroutine(function),
        inspect.ismethod(function),
        inspect.iscoroutinefunction(function),
        asyncio.iscoroutinefunction(function),
        inspect.isgeneratorfunction(function),
        inspect.isasyncgenfunction(function),
        inspect.signature(function),
        inspect.getfullargspec(function),
        inspect.getsource(function),
        inspect.getdoc(function),
        typing.get_type_hints(function),
        function.__name__,
        function.__qualname__,
        function.__module__,
        function.__annotations__,
        function.__defaults__,
        function.__kwdefaults__,
        getattr(function, "note", None),
    ]


def plain_functions(decorate, tell):
    @decorate
    def add(a: int, /, b: "int" = 2, *more: float, c, d: int = 4, **named) -> list:
        """Add."""
        return [a, b, more, c, d, named]

    add.note = "noted"
    tell(told_of(add))
    attempt(tell, add, 1, c=3)
    attempt(tell, add, 1, 5, 6, 7, c=3, d=0, a=9)
    attempt(tell, add, 1)
    attempt(tell, add, a=1, c=2)
    attempt(tell, functools.partial(add, 1), c=5)
    tell(copy.copy(add) is add)
    tell(copy.deepcopy([add])[0] is add)
    tell(list(map(decorate(lambda x: x + 1), [1, 2])))

    @decorate
    def factorial(n):
        return n * factorial(n - 1) if n else 1

    tell(factorial(20))


def errors(decorate, tell):
    cause = KeyError("cause")

    @decorate
    def fail(error):
        try:
            raise cause
        except KeyError as caught:
            raise error from caught

    for error in (ValueError("x"), StopIteration(3), KeyboardInterrupt(), SystemExit(2)):
        try:
            fail(error)
        except BaseException as caught:
            names = []
            trace = caught.__traceback__
            while trace.tb_next:
                trace = trace.tb_next
            names.append(trace.tb_frame.f_code.co_name)
            tell([caught is error, caught.__cause__ is cause, names, trace.tb_lineno])
            del trace
    tell(gc.isenabled())


def generators(decorate, tell):
    @decorate
    def talk(n, *, end="end"):
        try:
            got = yield "first"
            while got != "stop":
                try:
                    tell(("inside", got, type(sys.exception())))
                    got = yield got
                except ValueError as error:
                    got = f"caught {error}"
            return end
        finally:
            tell("cleaned")

    tell(told_of(talk))
    attempt(tell, talk)
    attempt(tell, talk, 1, 2)
    one = talk(1)
    tell([inspect.isgenerator(one), isinstance(one, types.GeneratorType), one.__name__])
    tell([one.__qualname__, inspect.getgeneratorstate(one), one.gi_yieldfrom])
    attempt(tell, one.send, 5)
    attempt(tell, next, one)
    attempt(tell, one.send, 5)
    attempt(tell, one.throw, ValueError("v"))
    attempt(tell, one.throw, KeyError("k"))
    attempt(tell, next, one)
    tell(inspect.getgeneratorstate(one))
    for _ in range(2):
        two = talk(1)
        next(two)
        attempt(tell, two.send, "stop")
        three = talk(1, end="other")
        next(three)
        attempt(tell, three.close)
        attempt(tell, three.close)
    unstarted = talk(1)
    attempt(tell, unstarted.throw, ValueError("early"))
    attempt(tell, next, unstarted)
    talk(1).close()
    dropped = talk(1)
    next(dropped)
    tell("before dropping")
    del dropped
    tell("after dropping")
    for item in talk(1):
        tell(item)
        break
    tell("after breaking")

    def outer():
        tell(("returned", (yield from talk(2))))

    three = outer()
    next(three)
    attempt(tell, three.send, "stop")


def stubborn_generators(decorate, tell):
    @decorate
    def stubborn():
        while True:
            try:
                yield 1
            except GeneratorExit:
                tell("not yet")
                yield 2
                return

    one = stubborn()
    next(one)
    attempt(tell, one.close)
    attempt(tell, next, one)
    two = stubborn()
    next(two)
    attempt(tell, two.throw, GeneratorExit())
    attempt(tell, next, two)

    @decorate
    def raising():
        with contextlib.suppress(ValueError):
            yield 1
        tell(str(sys.exception()))
        raise KeyError("later")

    three = raising()
    next(three)
    attempt(tell, three.throw, ValueError("before"))

    @decorate
    def stopping():
        yield 1
        raise StopIteration(5)  # noqa: PLR1708

    attempt(tell, list, stopping())

    @decorate
    def swallowing():
        with contextlib.suppress(GeneratorExit):
            yield 1
        tell("swallowed")

    with contextlib.contextmanager(swallowing)():
        raise GeneratorExit
    tell("after")


class Item:
    """Tells when it is let go of."""

    def __init__(self, tell, name):
        self.tell, self.name = tell, name

    def __del__(self):
        self.tell(f"{self.name} is gone")


def lifetimes(decorate, tell):
    @decorate
    def make(n):
        for number in range(n):
            yield Item(tell, number)
            tell(f"after {number}")

    for item in make(2):
        tell(item.name)
        del item

    @decorate
    def fail():
        item = Item(tell, "local")
        yield item.name
        raise ValueError

    gc.disable()
    try:
        with contextlib.suppress(ValueError):
            for name in fail():
                tell(name)
        tell("end of the block")
        failing = make(1)
        next(failing)
        with contextlib.suppress(KeyError):
            failing.throw(KeyError("thrown", Item(tell, "the error's")))
        tell("after the throw")
    finally:
        gc.enable()


def context_managers(decorate, tell):
    @contextlib.contextmanager
    @decorate
    def inner(name):
        tell(("enter", name))
        try:
            yield name
        except ValueError:
            tell("suppressed")
        finally:
            tell(("leave", name))

    with inner("a") as got:
        tell(got)
    with inner("b"):
        raise ValueError

    def fail():
        with inner("c"):
            raise KeyError("c")

    attempt(tell, fail)

    @decorate
    @contextlib.contextmanager
    def outer():
        yield "outer"

    with outer() as got:
        tell(got)


def coroutines(decorate, tell):
    @decorate
    async def wait(n, *, fail=None):
        tell("begun")
        try:
            await asyncio.sleep(0)
            if fail:
                raise fail
            return n
        finally:
            await asyncio.sleep(0)
            tell("cleaned")

    tell(told_of(wait))
    attempt(tell, wait)
    attempt(tell, asyncio.run, wait(3))
    attempt(tell, asyncio.run, wait(3, fail=ValueError("v")))
    unstarted = wait(1)
    tell([inspect.iscoroutine(unstarted), unstarted.__name__, inspect.getcoroutinestate(unstarted)])
    unstarted.close()
    tell(inspect.getcoroutinestate(unstarted))
    attempt(tell, unstarted.send, None)

    async def cancelled():
        task = asyncio.create_task(wait(1))
        await asyncio.sleep(0)
        task.cancel()
        await task

    attempt(tell, asyncio.run, cancelled())

    async def timed_out():
        async with asyncio.timeout(0):
            await wait(1)

    attempt(tell, asyncio.run, timed_out())

    @decorate
    async def stopping():
        raise StopIteration

    attempt(tell, asyncio.run, stopping())

    @decorate
    @types.coroutine
    def old():
        got = yield
        return got

    async def awaiting():
        return await old()

    tell(inspect.isgeneratorfunction(old))
    attempt(tell, asyncio.run, awaiting())


async def result(awaitable):
    try:
        return await awaitable
    except BaseException as error:
        return (type(error), str(error))


def async_generators(decorate, tell):
    @decorate
    async def talk(n):
        tell("begun")
        try:
            got = yield "first"
            while got != "stop":
                try:
                    await asyncio.sleep(0)
                    got = yield got
                except ValueError as error:
                    got = f"caught {error}"
        finally:
            await asyncio.sleep(0)
            tell("cleaned")

    tell(told_of(talk))
    attempt(tell, talk)

    async def conversation():
        one = talk(1)
        tell([inspect.isasyncgen(one), one.__name__, one.__qualname__, one.ag_running])
        tell(await result(one.asend(5)))
        tell(await anext(one))
        tell(await one.asend(6))
        tell(await one.athrow(ValueError("v")))
        tell(await result(one.athrow(KeyError("k"))))
        tell(await result(anext(one)))
        two = talk(2)
        await anext(two)
        tell(await result(two.asend("stop")))
        three = talk(3)
        await anext(three)
        tell(await three.aclose())
        tell(await three.aclose())
        tell(await result(anext(three)))
        await talk(4).aclose()
        tell(await result(talk(5).athrow(ValueError("early"))))

    asyncio.run(conversation())


def async_clean_up(decorate, tell):
    @decorate
    async def talk(n):
        try:
            yield n
        finally:
            await asyncio.sleep(0)
            tell("cleaned")

    async def breaking():
        async for item in talk(1):
            tell(item)
            break
        tell("broken out")
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        tell("a step later")
        async with contextlib.aclosing(talk(1)) as items:
            async for item in items:
                tell(item)
                break
        tell("closed")

    asyncio.run(breaking())
    kept = []

    async def left_to_the_loop():
        asyncio.get_running_loop().set_exception_handler(lambda _, context: tell(context))
        kept.append(talk(1))
        await anext(kept[0])
        tell("end of the loop")

    asyncio.run(left_to_the_loop())
    tell(kept.pop().ag_frame)

    async def cancelled():
        @decorate
        async def slow():
            try:
                yield 1
                await asyncio.sleep(60)
            finally:
                tell("cancelled inside")

        async def consume():
            async for item in slow():
                tell(item)

        task = asyncio.create_task(consume())
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        task.cancel()
        return await result(task)

    tell(asyncio.run(cancelled()))


def stubborn_async_generators(decorate, tell):
    async def stubborn():
        @decorate
        async def never():
            try:
                yield 1
            except GeneratorExit:
                yield 2

        one = never()
        await anext(one)
        tell(await result(one.aclose()))
        tell(await result(anext(one)))

        @decorate
        async def swallowing():
            with contextlib.suppress(BaseException):
                yield 1
            yield "after"

        two = swallowing()
        await anext(two)
        tell(await two.athrow(GeneratorExit()))

    asyncio.run(stubborn())


def forgotten(decorate, tell):
    @decorate
    async def wait():
        tell("begun")

    @decorate
    def never():
        try:
            yield 1
        finally:
            yield 2

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        wait()
        tell([str(one.message) for one in caught])
    unraisable = []
    hook, sys.unraisablehook = sys.unraisablehook, lambda one: unraisable.append(str(one.exc_value))
    try:
        next(never())
    finally:
        sys.unraisablehook = hook
    tell(unraisable)


def async_context_managers(decorate, tell):
    @contextlib.asynccontextmanager
    @decorate
    async def inner(name):
        tell(("enter", name))
        try:
            yield name
        except ValueError:
            tell("suppressed")
        finally:
            await asyncio.sleep(0)
            tell(("leave", name))

    async def use():
        async with inner("a") as got:
            tell(got)
        async with inner("b"):
            raise ValueError
        async with inner("c"):
            raise KeyError("c")

    attempt(tell, asyncio.run, use())

    async def cancelled():
        async with asyncio.timeout(0), inner("d"):
            await asyncio.sleep(60)

    attempt(tell, asyncio.run, cancelled())


def methods(decorate, tell):
    class Base(abc.ABC):
        @decorate
        @abc.abstractmethod
        def must(self): ...

        @abc.abstractmethod
        @decorate
        def must_too(self): ...

        @decorate
        def __init__(self, size=1):
            self.size = size

        @decorate
        def __new__(cls, *args):
            tell(cls.__name__)
            return super().__new__(cls)

        @decorate
        def __init_subclass__(cls, **named):
            super().__init_subclass__()
            tell(("subclass", cls.__name__, named))

        @decorate
        def plain(self, n):
            return [type(self).__name__, self.size, n]

        @decorate
        @classmethod
        def made(cls, n):
            return cls(n)

        @classmethod
        @decorate
        def made_too(cls, n):
            return cls(n)

        @decorate
        @staticmethod
        def static(n):
            return n

        @staticmethod
        @decorate
        def static_too(n):
            return n

        @decorate
        @property
        def doubled(self):
            """Twice the size."""
            return 2 * self.size

        @doubled.setter
        def doubled(self, value):
            self.size = value / 2

        @property
        @decorate
        def halved(self):
            return self.size / 2

        @decorate
        @functools.cached_property
        def kept(self):
            tell("computed")
            return [self.size]

        three = decorate(functools.partialmethod(plain, 3))

        @decorate
        async def wait(self, n):
            await asyncio.sleep(0)
            return [self.size, n]

        @decorate
        @classmethod
        async def wait_class(cls, n):
            return [cls.__name__, n]

        @decorate
        @staticmethod
        async def wait_static(n):
            return n

        @decorate
        def __iter__(self):
            yield from range(3)

        @decorate
        def __call__(self, n):
            return n

        @decorate
        def __private(self, __x=1):
            return __x

        def public(self):
            return self.__private()

        @decorate
        @functools.lru_cache  # noqa: B019
        def cached(self, n):
            tell("cached")
            return n

    class Child(Base, word="w"):
        def must(self):
            return super().must()

        def must_too(self):
            return super().plain(1)

        @decorate
        def plain(self, n):
            return ["child", *super().plain(n)]

        @decorate
        @classmethod
        def made(cls, n):
            return super().made(n + 1)

    attempt(tell, Base, 3)
    tell(Base.__abstractmethods__)
    child = Child(5)
    tell([child.must(), child.must_too(), child.plain(2), Child.plain(child, 3), child.three()])
    for name in ("made", "made_too", "static", "static_too"):
        for owner in (Child, child):
            got = getattr(owner, name)(4)
            tell([name, getattr(got, "size", got), type(vars(Base)[name]).__name__])
            tell([inspect.signature(getattr(owner, name)), inspect.ismethod(getattr(owner, name))])
    child.doubled = 8
    tell([child.size, child.doubled, child.halved, child.kept, child.kept, Base.doubled.__doc__])
    tell([list(child), child(7), child.public(), child.cached(1), child.cached(1)])
    tell([Base.plain is Base.plain, child.plain == child.plain, child.plain.__self__ is child])
    tell(sorted(name for name, _ in inspect.getmembers(Base, inspect.isfunction)))
    for coroutine in (
        child.wait(1),
        Child.wait_class(2),
        child.wait_class(2),
        Child.wait_static(3),
    ):
        attempt(tell, asyncio.run, coroutine)
    for function in (child.wait, Child.wait_class, child.wait_class, Child.wait_static):
        tell([inspect.iscoroutinefunction(function), inspect.signature(function)])
    tell(decorate(child.plain)(9))
    tell(decorate(Child.made_too)(9).size)
    attempt(tell, child.plain)


def partials(decorate, tell):
    def add(a, b=1, *, c=2):
        return [a, b, c]

    async def wait(a, b):
        await asyncio.sleep(0)
        return [a, b]

    def count(a, b):
        got = yield from range(a, b)
        return got

    async def stream(a, b):
        for number in range(a, b):
            yield number

    one = decorate(functools.partial(add, 1, c=5))
    tell([one(), one(3), one.func.__name__, one.args, one.keywords, inspect.signature(one)])
    tell([isinstance(one, functools.partial), hasattr(one, "__name__"), callable(one)])
    two, three, four = (decorate(functools.partial(f, 1)) for f in (wait, count, stream))
    tell(asyncio.run(decorate(functools.partial(AsyncStep(1).__call__, 3))()))
    tell(asyncio.run(decorate(decorate(functools.partial(AsyncStep(1), 3)))()))
    for partial in (one, two, three, four):
        tell([inspect.iscoroutinefunction(partial), asyncio.iscoroutinefunction(partial)])
        tell([inspect.isgeneratorfunction(partial), inspect.isasyncgenfunction(partial)])
    attempt(tell, asyncio.run, two(2))
    attempt(tell, two)
    tell(list(three(4)))

    async def collect():
        return [item async for item in four(4)]

    tell(asyncio.run(collect()))
    tell(decorate(functools.partial(complex, 1))(2))
    tell(decorate(functools.partial(functools.partial(add, 1), 2))())


class Step:
    """Can be called, and has all sorts of things beside."""

    weight = 1

    def __init__(self, size):
        self.size = size

    def __call__(self, n):
        """Step."""
        self.size += n
        return self.size

    def __len__(self):
        return self.size

    def __getitem__(self, index):
        return [self.size, index]

    def __eq__(self, other):
        return isinstance(other, Step) and self.size == other.size

    def __hash__(self):
        return 3

    def __enter__(self):
        return self.size

    def __exit__(self, *error):
        return True

    def grow(self):
        self.size *= 2
        return self.size


class AsyncStep(Step):
    async def __call__(self, n):
        await asyncio.sleep(0)
        self.size += n
        return self.size


class Stream(Step):
    async def __call__(self, n):
        for number in range(n):
            self.size += number
            got = yield self.size
            if got:
                yield got


def objects(decorate, tell):
    original = Step(3)
    step = decorate(original)
    tell([step(2), step.size, len(step), step["a"], step == Step(5), hash(step), step.grow()])
    step.size = 4
    tell(
        [
            original.size,
            vars(step),
            isinstance(step, Step),
            step.__class__,
            step.__doc__,
            bool(step),
        ]
    )
    with step as got:
        tell(got)
        raise ValueError
    del step.size
    attempt(tell, getattr, step, "size")
    attempt(tell, step)
    tell([inspect.signature(step), inspect.iscoroutinefunction(step), inspect.isfunction(step)])
    original.size = 1
    for twin in (copy.copy(step), copy.deepcopy(step)):
        tell([twin(1), original.size, isinstance(twin, Step)])
    waiting = decorate(AsyncStep(1))
    tell([inspect.iscoroutinefunction(waiting), inspect.iscoroutinefunction(waiting.__call__)])
    tell([asyncio.run(waiting(4)), waiting.size])
    attempt(tell, waiting)
    stream = decorate(Stream(1))
    tell(inspect.isasyncgenfunction(stream.__call__))

    async def collect():
        items = stream(3)
        return [await anext(items), await items.asend("sent"), await anext(items), stream.size]

    tell(asyncio.run(collect()))
    cached = decorate(functools.lru_cache(lambda n: n))
    tell([cached(1), cached(1), cached.cache_info()])
    tell([decorate(sum)([1, 2]), decorate(operator.itemgetter(1))("ab"), decorate([].append)(1)])
    tell(decorate("a b".split)())


PROGRAMS = [
    plain_functions,
    errors,
    generators,
    stubborn_generators,
    lifetimes,
    context_managers,
    coroutines,
    async_generators,
    async_clean_up,
    stubborn_async_generators,
    forgotten,
    async_context_managers,
    methods,
    partials,
    objects,
]
