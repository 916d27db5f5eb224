"""When a recomputed number is the printed one."""

import doctest
import importlib
import json
import pkgutil

import pytest

import joulelab.replication
from joulelab.errors import UnknownNameError
from joulelab.replication.published import (
    Comparison,
    Published,
    Recomputed,
    agree,
    published_studies,
)

MODULES = sorted(module.name for module in pkgutil.iter_modules(joulelab.replication.__path__))


def compared(text, value, note=""):
    return Comparison(Published("Table I", "all", "x", text), Recomputed(value, note))


@pytest.mark.parametrize("name", MODULES)
def test_the_worked_examples_hold(name):
    assert doctest.testmod(importlib.import_module(f"joulelab.replication.{name}")).failed == 0


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0.749", 0.7494),
        ("0.749", 0.7485),
        ("0.81", 0.805),  # half up
        ("0.80", 0.805),  # half to even
        ("0.81", sum([0.805] * 8) / 8),
        ("2303.250", 2303.2502),
        ("1674", 1674.09),
        ("18,432", 18432),
        ("< .001", 0.0),
        ("a little over 6", 6.7),
        ("almost 12", 11.6),
        ("large", "large"),
    ],
)
def test_a_value_that_rounds_to_the_printed_one_agrees(text, value):
    assert agree(text, value)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0.749", 0.7499),
        ("0.749", 0.7484),
        ("0.82", 0.805),
        ("0.884", 0.884725),
        ("54", 52),
        ("1674", 1674.6),
        ("< .001", 0.001),
        ("a little over 6", 5.9),
        ("a little over 6", 7.1),
        ("almost 12", 12.0),
        ("almost 12", 10.9),
        ("large", "medium"),
    ],
)
def test_any_other_value_does_not(text, value):
    assert not agree(text, value)


def test_a_number_that_was_cut_off_is_called_so():
    assert compared("0.884", 0.884725).note == "printed truncated, not rounded"


def test_a_difference_nobody_explained_is_put_into_figures():
    assert compared("1674", 1690.74).note == "the data give 1.0 % more"
    assert compared("0.5", 0.4).note == "the data give 20.0 % less"
    assert compared("1674", 1674.0).note == ""
    assert compared("1674", 1690.74, "a cause").note == "a cause"


def test_what_cannot_be_recomputed_neither_agrees_nor_differs():
    for value in (None, float("nan")):
        row = compared("85", value, "no times").to_dict()
        assert (row["recomputed"], row["agrees"], row["note"]) == (None, None, "no times")
        json.dumps(row, allow_nan=False)


def test_numbers_are_numbers_and_words_are_words():
    assert compared("18,432", 1).to_dict()["published"] == 18432
    assert isinstance(compared("64", 64).to_dict()["published"], int)
    assert compared("0.749", 0.7).to_dict()["published"] == 0.749
    assert compared("< .001", 0.5).to_dict()["published"] == "< .001"


def test_a_study_is_known_by_name_and_a_wrong_name_suggests_it():
    assert callable(published_studies.get("yarally2023"))
    with pytest.raises(UnknownNameError, match="did you mean 'yarally2023'"):
        published_studies.get("yaraly2023")
