"""Declarations: what a table or figure is called, and the function that makes it of a subject.

::

    @table("increase", "Mean increase in energy by factor")
    def increases(experiment: Experiment) -> Table: ...

    increases(experiment)          the table, made once; or Unavailable is raised
    increases.shown(experiment)    the table, or an Omitted that says why there is none

What one table needs of another it just asks for; where that cannot be, neither can this.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from dataclasses import replace
from functools import wraps
from typing import Generic, TypeVar
from weakref import WeakKeyDictionary

from joulelab.present.parts import Figure, Omitted, Table

Subject = TypeVar("Subject", bound=Hashable)
Made = TypeVar("Made")
Shown = TypeVar("Shown", bound=Table | Figure)


class Unavailable(Exception):  # noqa: N818 - it is a signal, not a failure
    """Something cannot be shown; the reason is a sentence, or empty where there is nothing to say.

    Of what does not apply to a subject at all (failed runs, where none failed), nobody is told.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def cached_per_subject(make: Callable[[Subject], Made]) -> Callable[[Subject], Made]:
    """Make something of a subject only the first time it is asked for, even that it cannot be.

    A report shows most of what it finds in several places, and a bootstrap takes its time. The
    subject is known by itself and not by what it equals.
    """
    made: WeakKeyDictionary[Subject, Made | Unavailable] = WeakKeyDictionary()

    @wraps(make)
    def remembered(subject: Subject) -> Made:
        if subject not in made:
            try:
                made[subject] = make(subject)
            except Unavailable as reason:
                made[subject] = Unavailable(reason.reason)
        found = made[subject]
        if isinstance(found, Unavailable):
            raise Unavailable(found.reason)
        return found

    return remembered


class Declared(Generic[Subject, Shown]):
    """A table or a figure of a report.

    Attributes:
        key: its name in JSON and of files.
        title: what it is; what is made may say it more exactly.
        folded: a page shows it on request.
        makes: `Table` or `Figure`.
    """

    def __init__(
        self,
        key: str,
        title: str,
        make: Callable[[Subject], Shown],
        makes: type[Shown],
        *,
        folded: bool,
    ) -> None:
        self.makes = makes
        self.key = key
        self.title = title
        self.folded = folded
        self._make = cached_per_subject(make)
        self.__doc__ = make.__doc__

    def __call__(self, subject: Subject) -> Shown:
        """Make it.

        Raises:
            Unavailable: says why it cannot be.
        """
        made = self._make(subject)
        return replace(
            made,
            key=made.key or self.key,
            title=made.title or self.title,
            folded=made.folded or self.folded,
        )

    def shown(self, subject: Subject) -> Shown | Omitted:
        """Make it, or say why it cannot be."""
        try:
            return self(subject)
        except Unavailable as error:
            return Omitted(self.key, self.title, error.reason)


def shown(
    declared: Iterable[Declared[Subject, Table] | Declared[Subject, Figure]], subject: Subject
) -> list[Table | Figure | Omitted]:
    """Everything that is declared, as far as it applies to a subject.

    Args:
        declared: tables and figures, in order.
        subject: what they are of.
    """
    made = (one.shown(subject) for one in declared)
    return [one for one in made if not isinstance(one, Omitted) or one.reason]


def table(
    key: str, title: str, *, folded: bool = False
) -> Callable[[Callable[[Subject], Table]], Declared[Subject, Table]]:
    """Declare the function below it as a table.

    Args:
        key: its name in JSON and of files.
        title: what it is.
        folded: a page shows it on request.
    """
    return lambda make: Declared(key, title, make, Table, folded=folded)


def figure(
    key: str, title: str, *, folded: bool = False
) -> Callable[[Callable[[Subject], Figure]], Declared[Subject, Figure]]:
    """Declare the function below it as a figure.

    Args:
        key: its name, and that of its files.
        title: what it is.
        folded: a page shows it on request.
    """
    return lambda make: Declared(key, title, make, Figure, folded=folded)
