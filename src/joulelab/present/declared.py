"""Declarations of tables and figures: key, title, and the function that makes them from a subject.

::

    @table("increase", "Mean increase in energy by factor")
    def increases(experiment: Experiment) -> Table: ...

    increases(experiment)          the table, made once; or raises Unavailable
    increases.shown(experiment)    the table, or an Omitted with the reason

A table can use another one; if that is unavailable, so is this one. An error in a user's function
is a reason too: ``ValueError: early (odd.py:52)``.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from dataclasses import replace
from functools import wraps
from typing import Generic, TypeVar
from weakref import WeakKeyDictionary

from joulelab.present.faults import Unavailable, guarded, is_own
from joulelab.present.parts import Figure, Omitted, Table

Subject = TypeVar("Subject", bound=Hashable)
Made = TypeVar("Made")
Shown = TypeVar("Shown", bound=Table | Figure)


def cached_per_subject(make: Callable[[Subject], Made]) -> Callable[[Subject], Made]:
    """Cache a function's result, or its `Unavailable`, per subject.

    A report uses most results in several places, and a bootstrap is slow. Subjects are compared by
    identity.
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
        key: name in JSON and in files.
        title: title; the result may refine it.
        folded: whether a page folds it.
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
        self._make = cached_per_subject(make if is_own(make) else _checked(make, key, makes))
        self.__doc__ = make.__doc__

    def __call__(self, subject: Subject) -> Shown:
        """Make the table or figure.

        Raises:
            Unavailable: with the reason.
        """
        made = self._make(subject)
        return replace(
            made,
            key=made.key or self.key,
            title=made.title or self.title,
            folded=made.folded or self.folded,
        )

    def shown(self, subject: Subject) -> Shown | Omitted:
        """Make it, or return an `Omitted` with the reason."""
        try:
            return self(subject)
        except Unavailable as error:
            return Omitted(self.key, self.title, error.reason)


def _checked(
    make: Callable[[Subject], Shown], key: str, makes: type[Shown]
) -> Callable[[Subject], Shown]:
    """A user's function, with errors in it, in columns and in drawing as reasons."""

    @wraps(make)
    def checked(subject: Subject) -> Shown:
        made = make(subject)
        noun = makes.__name__.lower()
        if not isinstance(made, makes):
            returned = type(made).__name__
            raise Unavailable(f"{noun} {key} returned {returned}; return a {makes.__name__}.")
        if isinstance(made, Table):
            made.headings()
            made.cells()
        if isinstance(made, Figure):
            return replace(made, draw=guarded(made.draw))
        return made

    return guarded(checked)


def shown(
    declared: Iterable[Declared[Subject, Table] | Declared[Subject, Figure]], subject: Subject
) -> list[Table | Figure | Omitted]:
    """All declared tables and figures that apply to a subject.

    Args:
        declared: tables and figures, in order.
        subject: their subject.
    """
    made = (one.shown(subject) for one in declared)
    return [one for one in made if not isinstance(one, Omitted) or one.reason]


def table(
    key: str, title: str, *, folded: bool = False
) -> Callable[[Callable[[Subject], Table]], Declared[Subject, Table]]:
    """Declare the decorated function as a table.

    Args:
        key: name in JSON and in files.
        title: its title.
        folded: whether a page folds it.
    """
    return lambda make: Declared(key, title, make, Table, folded=folded)


def figure(
    key: str, title: str, *, folded: bool = False
) -> Callable[[Callable[[Subject], Figure]], Declared[Subject, Figure]]:
    """Declare the decorated function as a figure.

    Args:
        key: name in JSON and in files.
        title: its title.
        folded: whether a page folds it.
    """
    return lambda make: Declared(key, title, make, Figure, folded=folded)
