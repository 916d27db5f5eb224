"""Every error that joulelab raises on purpose.

::

    JoulelabError                     exit code 1
    ├── UsageError                    exit code 2: the request cannot be carried out as written
    │   ├── SpecError                 a study file, or a ``--set``, with a wrong key or value
    │   ├── SettingsError             the settings file, or a setting of a meter, with a mistake
    │   ├── UnknownNameError          an unknown network, data set, strategy, meter ...
    │   ├── PluginError               a plug-in file that cannot be used
    │   └── UntrustedCodeError        a results folder names code that the user has not run yet
    ├── CommandError                  a command that cannot be started
    ├── DatasetError                  missing, cut short or corrupt data
    ├── MeterError                    a sensor that cannot be read
    │   └── DeviceBusyError           another measurement holds the device
    ├── TraceError                    a power trace that cannot be read or written
    ├── TrainingError                 a network and a data set that do not go together
    ├── ServingError                  a server that died, or a model that cannot be served
    ├── StoreError                    the results folder cannot be used
    │   ├── StoreBusyError            another process writes to it
    │   ├── StoreCorruptError         something in it is damaged, or is not what belongs there
    │   ├── StoreMismatchError        it holds a different study
    │   ├── StoreVersionError         a newer joulelab wrote it
    │   └── StoreWriteError           disk full, folder not writable
    └── MissingDependencyError        an optional library is not installed

A message is one line that says what and where; ``hint`` is the second line and says what to do.
Both stay short even if they quote a long value, name or path: `quoted` shortens a value, and
`JoulelabError` shortens whatever is still too long.
"""

from __future__ import annotations

import copyreg
import difflib
import reprlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

LONGEST_VALUE = 120
LONGEST_MESSAGE, LONGEST_HINT = 900, 500
"""In characters."""


class JoulelabError(Exception):
    """What went wrong and where, and in `hint` what to do about it."""

    exit_code: int = 1

    def __init__(self, message: str, hint: str = "") -> None:
        message, hint = fitted(message, LONGEST_MESSAGE), fitted(hint, LONGEST_HINT)
        super().__init__(message, hint)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n{self.hint}" if self.hint else self.message

    def __reduce__(self) -> tuple[Any, ...]:
        # Not by calling the class: some take other arguments than those that are kept.
        return copyreg.__newobj__, (type(self), *self.args), vars(self)  # type: ignore[attr-defined]


class UsageError(JoulelabError):
    """The request cannot be carried out as it is written."""

    exit_code: int = 2


class SpecError(UsageError):
    """A study file, or an override of it, has a wrong key or an impossible value.

    Args:
        message: as for every error.
        hint: likewise.
        keys: the keys that lead to the value within the table of an experiment.
    """

    def __init__(self, message: str, hint: str = "", keys: Sequence[str] = ()) -> None:
        super().__init__(message, hint)
        self.keys = tuple(keys)


class SettingsError(UsageError):
    """The settings file, or a setting of a meter, has a mistake."""


class UnknownNameError(UsageError):
    """Nothing of this kind is registered under this name."""

    def __init__(self, noun: str, name: str, known: Iterable[str]) -> None:
        names = sorted(known)
        super().__init__(f"unknown {noun} {quoted(name)}", suggestion(name, names))


class PluginError(UsageError):
    """A plug-in, a file or an installed package, cannot be used."""


class UntrustedCodeError(UsageError):
    """A results folder names code that the user has neither run yet nor approved of.

    Attributes:
        study: the study file.
        code: what it names, as `joulelab.study.trust.Code`.
        missing: the code whose file cannot be read.
    """

    def __init__(self, study: Path, code: Sequence[object]) -> None:
        self.study = study
        self.code = code
        self.missing = [
            one for one in code if getattr(one, "path", None) and not getattr(one, "sha256", "")
        ]
        if self.missing:
            super().__init__(
                f"{study} needs code that does not exist or cannot be read: "
                f"{self._listed(self.missing)}",
                "put the file back",
            )
            return
        single = all(getattr(one, "path", None) for one in code)
        super().__init__(
            f"{study} uses code that you have not run yet: {self._listed(code)}",
            f"read it first; --trust then runs it{', --plugin FILE allows a single file' * single}",
        )

    def _listed(self, code: Sequence[object]) -> str:
        """Every piece of code, named from the folder of the study to keep the message short."""
        folder = self.study.parent.absolute().resolve()
        return ", ".join(str(one).replace(f"{folder}/", "") for one in code)


class CommandError(JoulelabError):
    """A command cannot be started; the exit code is the one a shell would give."""

    def __init__(self, message: str, hint: str, exit_code: int) -> None:
        super().__init__(message, hint)
        self.exit_code = exit_code


class BudgetSpentError(JoulelabError):
    """A budget is spent, or the next step would overshoot it."""


class DatasetError(JoulelabError):
    """A data set is missing, cut short or corrupt."""


class MeterError(JoulelabError):
    """A sensor cannot be read."""


class DeviceBusyError(MeterError):
    """Another measurement holds the device."""


class TraceError(JoulelabError):
    """A file with a power trace cannot be read or written."""


class TrainingError(JoulelabError):
    """A network and a data set, or a protocol and an engine, do not go together."""


class ServingError(JoulelabError):
    """A server process has died, or a model cannot be served."""


class StoreError(JoulelabError):
    """A results folder cannot be used."""


class StoreBusyError(StoreError):
    """Another process writes to the results folder."""


class StoreCorruptError(StoreError):
    """Content of the results folder is damaged or does not belong there."""


class StoreMismatchError(StoreError):
    """The results folder holds a different study."""


class StoreVersionError(StoreError):
    """A newer version of joulelab wrote the results folder."""


class StoreWriteError(StoreError):
    """The results folder cannot be written: disk full, or no permission."""


class MissingDependencyError(JoulelabError):
    """An optional library is not installed."""


class _Values(reprlib.Repr):
    """A `reprlib.Repr` that reads only as much of a value as it shows."""

    def __init__(self) -> None:
        super().__init__()
        self.maxlevel = self.maxlist = self.maxtuple = self.maxset = self.maxdict = 4
        self.maxstring = self.maxother = LONGEST_VALUE

    def repr_int(self, x: int, level: int) -> str:
        # Python refuses to write out a number of thousands of digits.
        return repr(x) if x.bit_length() <= LONGEST_VALUE else f"a number of {x.bit_length()} bits"


_VALUES = _Values()


def quoted(value: object) -> str:
    """A value quoted for a message: its repr, at most `LONGEST_VALUE` characters long.

    >>> quoted("trained"), quoted([0.1, True])
    ("'trained'", '[0.1, True]')
    >>> quoted("x" * 1000)[:8], len(quoted("x" * 1000))
    ("'xxxxxxx", 120)

    Args:
        value: of a key, a cell, an argument.
    """
    return fitted(_VALUES.repr(value), LONGEST_VALUE)


def fitted(text: str, longest: int) -> str:
    """A text shortened in the middle if too long, with unprintable characters escaped.

    A foreign name may contain terminal control sequences.

    >>> fitted("abcdefghijklmnopqrstuvwxyz", 11)
    'abc ... xyz'

    Args:
        text: of any length.
        longest: characters to keep.
    """
    if len(text) > longest:
        head = (longest - len(_GAP) + 1) // 2
        text = text[:head] + _GAP + text[len(text) - (longest - len(_GAP) - head) :]
    if text.isprintable():
        return text
    escaped = "".join(one if one.isprintable() or one == "\n" else ascii(one)[1:-1] for one in text)
    return escaped if len(escaped) <= longest else fitted(escaped, longest)


_GAP = " ... "


def one_line(error: Exception) -> str:
    """The message of an error without line breaks."""
    return " ".join(str(error).split())


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name that is probably meant; ``None`` if none is close.

    Args:
        name: what the user wrote.
        known: the valid names.
    """
    folded = {other.casefold(): other for other in known}
    near = difflib.get_close_matches(name[:LONGEST_VALUE].casefold(), folded, n=1, cutoff=0.6)
    return folded[near[0]] if near else None


def suggestion(name: str, known: Iterable[str]) -> str:
    """The closest known name, or all of them if none is close.

    Args:
        name: what the user wrote.
        known: the valid names.
    """
    names = list(known)
    if near := nearest(name, names):
        return f"did you mean {quoted(near)}?"
    return "known: " + ", ".join(names) if names else ""
