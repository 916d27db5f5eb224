"""What a call may return, what it may print, and how it may end."""

import os

import pytest

from joulelab.errors import UsageError
from joulelab.study.call_workload import CallJob, _CallExecutor


def called(prepare):
    """The numbers of one call, without measuring it."""
    executor = _CallExecutor(prepare, None, "cpu", 0.0, print)
    return executor._carry_out(CallJob("s: a", "cpu", 1, {"a": 1}, 3), print)


def returning(value):
    return called(lambda levels, seed: lambda: value)


def test_numbers_and_texts_are_kept_by_name():
    assert returning({"accuracy": 0.5, "flops": 3, "note": "x", "none": None}) == {
        "accuracy": 0.5,
        "flops": 3,
        "note": "x",
        "none": None,
    }
    assert returning(None) == {}


@pytest.mark.parametrize(
    "name", ["energy_net_j", "run_id", "state", "duration_s", "utilisation_p5", "flops_reason"]
)
def test_a_value_with_the_name_of_a_column_is_refused(name):
    with pytest.raises(UsageError, match=f"'{name}' is a column of the results; return it under"):
        returning({name: 1.0})


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        (42, "has returned 42; return numbers by name"),
        ({"a": [1]}, "is of type list"),
        ({"accuracy": 5}, "accuracy of 5"),
        ({"flops": "many"}, "is not a number"),
    ],
)
def test_other_results_are_refused_with_what_to_return(value, complaint):
    with pytest.raises(UsageError, match=complaint):
        returning(value)


def test_a_preparation_without_a_function_says_what_to_return():
    with pytest.raises(UsageError, match="prepare has returned None; return the function"):
        called(lambda levels, seed: None)


def test_the_end_of_the_program_is_an_error_of_the_call():
    def leave():
        raise SystemExit(7)

    with pytest.raises(UsageError, match=r"the call has ended the program \(SystemExit: 7\)"):
        called(lambda levels, seed: leave)


def test_what_a_call_prints_goes_to_standard_error(capfd):
    def speak():
        print("from python")
        os.write(1, b"from a program\n")

    called(lambda levels, seed: speak)
    print("the results")
    out, err = capfd.readouterr()
    assert out == "the results\n"
    assert {"from python", "from a program"} == set(err.split("\n")[:2])
