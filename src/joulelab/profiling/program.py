"""A Python program run in this process, as the interpreter would run it.

::

    train.py --lr 1              python train.py --lr 1
    -m package.train --lr 1      python -m package.train --lr 1
    -c "code"                    python -c "code"

Its ``sys.argv``, ``sys.path[0]`` and ``__main__`` are its own, and the traceback of an error begins
in the program. Its exit code is the one that the interpreter would give.
"""

from __future__ import annotations

import builtins
import importlib.util
import io
import os
import runpy
import shutil
import signal
import sys
import threading
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import CodeType, FrameType, ModuleType, TracebackType
from typing import Any, Literal, NoReturn

from joulelab.errors import CommandError
from joulelab.profiling.profiler import Profiling

FAILED, INTERRUPTED = 1, 130
NOT_FOUND, NOT_PYTHON = 127, 126
SIGNALLED = 128
_STEMS = ("python", "pypy")
_ALLOWED = "-u"
_ENDING = ("SIGTERM", "SIGHUP")


@dataclass(frozen=True)
class Program:
    """A Python program with its arguments.

    Attributes:
        kind: a file (or a folder or an archive with a ``__main__.py``), a module, or code.
        what: its path or name, or the code.
        arguments: of the program.
    """

    kind: Literal["file", "module", "code"]
    what: str
    arguments: tuple[str, ...] = ()

    @classmethod
    def parse(cls, words: Sequence[str], *, module: bool = False) -> Program:
        """The program of a command.

        Args:
            words: as on the command line; the interpreter may be the first.
            module: whether the first is the name of a module.

        Raises:
            CommandError: it does not exist, is not a Python program, or needs another interpreter.
        """
        rest = list(words)
        if rest and not module and _is_interpreter(rest[0]):
            _check_interpreter(rest.pop(0))
            while rest and rest[0] == _ALLOWED:
                rest.pop(0)
                if hasattr(sys.stdout, "reconfigure"):
                    sys.stdout.reconfigure(write_through=True)
            if rest and rest[0].startswith("-") and rest[0] not in ("-m", "-c"):
                raise CommandError(
                    f"python {rest[0]} is not possible: the program runs in joulelab's interpreter",
                    f"start that with it: python {rest[0]} -m joulelab profile -- ...",
                    NOT_PYTHON,
                )
        option = "-m" if module else rest.pop(0) if rest and rest[0] in ("-m", "-c") else ""
        if not rest:
            raise CommandError("no program is named", "joulelab profile -- train.py", NOT_FOUND)
        what, arguments = rest[0], tuple(rest[1:])
        if option == "-c":
            return cls("code", what, arguments)
        if option == "-m":
            return cls("module", _module(what), arguments)
        return cls("file", _script(what), arguments)

    @property
    def name(self) -> str:
        """What to call it."""
        return {"module": f"-m {self.what}", "code": "-c"}.get(self.kind, self.what)

    def run(self) -> int:
        """Run it to its end, and return its exit code; an error is printed as Python prints it."""
        with _as_main(self):
            return self._to_the_end()

    def _to_the_end(self) -> int:
        others = set(threading.enumerate())
        code = _exit_code(self._run)
        return _exit_code(partial(_join_threads, others)) or code

    def _run(self) -> None:
        if self.kind == "module":
            runpy.run_module(self.what, run_name="__main__", alter_sys=True)
        elif self.kind == "code":
            _execute(self.what, "<string>")
        elif _is_source(self.what):
            path = str(Path(self.what).absolute())
            with io.open_code(path) as file:
                _execute(file.read(), path, __file__=path, __cached__=None)
        else:
            runpy.run_path(self.what, run_name="__main__")

    @property
    def below(self) -> CodeType:
        """The function that runs it."""
        return Program._to_the_end.__code__


def _execute(source: str | bytes, name: str, **variables: object) -> None:
    """Execute code as the main module; unlike `runpy`, with the file that the interpreter names.

    Args:
        source: the code.
        name: of its file.
        variables: of the module.
    """
    main = sys.modules["__main__"] = ModuleType("__main__")
    vars(main).update(variables, __builtins__=builtins)
    exec(compile(source, name, "exec", dont_inherit=True), vars(main))


def _is_interpreter(word: str) -> bool:
    path = Path(word)
    return path.name.startswith(_STEMS) and not path.suffix.startswith(".py")


def _check_interpreter(word: str) -> None:
    """Refuse the interpreter of another environment.

    Raises:
        CommandError: the program would need it.
    """
    here, found = Path(sys.executable), shutil.which(word)
    if found is None:
        raise CommandError(f"{word} does not exist", f"this one is {here}", NOT_FOUND)
    same = Path(found).absolute().parent == here.parent or Path(found).samefile(here)
    if os.sep in word and not same:
        raise CommandError(
            f"the program runs with {here}, not with {word}",
            "install joulelab there, or leave the interpreter out",
            NOT_PYTHON,
        )


def _module(name: str) -> str:
    top = name.partition(".")[0]
    # As python -m finds it: from the current folder.
    with _first_on_path(_current_folder()):
        try:
            known = importlib.util.find_spec(top) is not None
        except (ImportError, ValueError):
            known = False
    if not known:
        raise CommandError(
            f"no module named {top}", "check its name and the current folder", FAILED
        )
    return name


def _script(name: str) -> str:
    """The path of a Python file, of a folder or archive with a program, or of a script on PATH."""
    path = Path(name)
    if path.is_dir():
        if not (path / "__main__.py").is_file():
            raise CommandError(f"{name} has no __main__.py", "name the file to run", FAILED)
        return name
    if not path.exists():
        found = shutil.which(name) if os.sep not in name else None
        if found is None:
            raise CommandError(
                f"{name} does not exist", "joulelab profile -- train.py, or -m module", NOT_FOUND
            )
        path = Path(found)
    if path.suffix in (".py", ".pyw", ".pyc") or _says_python(path) or zipfile.is_zipfile(path):
        return str(path)
    raise CommandError(
        f"{name} is not a Python program",
        f"joulelab measure -- {name} measures it as a whole",
        NOT_PYTHON,
    )


def _says_python(path: Path) -> bool:
    """Whether the first line of a file names Python as its interpreter."""
    try:
        with path.open("rb") as file:
            first = file.readline(200)
    except OSError:
        return False
    return first.startswith(b"#!") and b"python" in first


def _current_folder() -> str:
    return str(Path.cwd())


@contextmanager
def _first_on_path(folder: str) -> Iterator[None]:
    if sys.flags.safe_path:
        yield
        return
    before = sys.path[:]
    sys.path.insert(0, folder)
    try:
        yield
    finally:
        sys.path[:] = before


@contextmanager
def _as_main(program: Program) -> Iterator[None]:
    """The interpreter's variables as the program expects them; as before afterwards."""
    argv, path, main = sys.argv, sys.path, sys.modules["__main__"]
    first = {"file": program.what, "module": "-m", "code": "-c"}[program.kind]
    sys.argv = [first, *program.arguments]
    sys.path = path[:]
    if not sys.flags.safe_path:
        # Its own folder in place of the one of joulelab's script.
        folder = str(Path(program.what).resolve().parent) if program.kind == "file" else ""
        sys.path[:1] = [_current_folder() if program.kind == "module" else folder]
    if program.kind == "file" and not _is_source(program.what):
        sys.path[:1] = []  # runpy adds a folder or an archive itself
    try:
        yield
    finally:
        sys.argv, sys.path, sys.modules["__main__"] = argv, path, main


def _is_source(path: str) -> bool:
    return Path(path).is_file() and not (path.endswith(".pyc") or zipfile.is_zipfile(path))


def _exit_code(run: Callable[[], None]) -> int:
    """Run a program; its exit code as the interpreter would give it."""
    try:
        run()
    except SystemExit as error:
        return _code_of(error)
    except BaseException as error:
        _show(error)
        return INTERRUPTED if isinstance(error, KeyboardInterrupt) else FAILED
    return 0


def _code_of(error: SystemExit) -> int:
    if error.code is None:
        return 0
    if isinstance(error.code, int):
        return error.code & 0xFF
    print(error.code, file=sys.stderr)
    return FAILED


def _show(error: BaseException) -> None:
    """Print a traceback that begins in the program."""
    traceback = error.__traceback__
    while traceback is not None and _is_ours(traceback):
        traceback = traceback.tb_next
    sys.excepthook(type(error), error.with_traceback(traceback), traceback)
    if isinstance(error, ModuleNotFoundError):
        print(
            f"The program ran with {sys.executable}: install joulelab where its modules are.",
            file=sys.stderr,
        )


def _is_ours(traceback: TracebackType) -> bool:
    file = traceback.tb_frame.f_code.co_filename
    return file in (__file__, runpy.run_path.__code__.co_filename)


def _join_threads(others: set[threading.Thread]) -> None:
    """Wait for the threads that keep a program running; idle workers of executors do not.

    Args:
        others: that are not the program's.
    """
    executors = sys.modules.get("concurrent.futures.thread")
    idle: Any = getattr(executors, "_threads_queues", {})
    for thread in threading.enumerate():
        if thread not in others and not thread.daemon and thread not in idle:
            thread.join()


@contextmanager
def ending_early(profiling: Profiling, tell: Callable[[int], None]) -> Iterator[None]:
    """End the profile also where the program does not return: `os._exit`, SIGTERM, SIGHUP.

    Not in processes that the program forks.

    Args:
        profiling: the profile.
        tell: says what was found; takes the exit code.
    """
    exits = os._exit

    def finish(code: int) -> None:
        if profiling.is_of_this_process:
            with suppress(Exception):  # the program ends, whatever becomes of its profile
                profiling.stop()
                tell(code)
                sys.stdout.flush()
                sys.stderr.flush()

    def leave(status: int) -> NoReturn:
        os._exit = exits
        finish(status)
        exits(status)

    def end(number: int, _: FrameType | None) -> None:
        finish(SIGNALLED + number)
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    numbers = [getattr(signal, name) for name in _ENDING if hasattr(signal, name)]
    usual = [number for number in numbers if signal.getsignal(number) is signal.SIG_DFL]
    os._exit = leave
    for number in usual:
        signal.signal(number, end)
    try:
        yield
    finally:
        os._exit = exits
        for number in usual:
            if signal.getsignal(number) is end:
                signal.signal(number, signal.SIG_DFL)
