import numpy as np
import pandas as pd
import pytest

from joulelab.analysis.frames import complete, extremes, groups, levels, numbers
from joulelab.errors import UsageError


@pytest.mark.parametrize(
    "values",
    [
        pd.Series([1, 2.5, None]),
        pd.Series([1, 2.5, None], dtype=object),
        pd.Series([1, 2.5, None], dtype="Float64"),
        pd.Series([1, 2.5, np.inf]),
        pd.Series(["1", "2.5", None]),
    ],
)
def test_a_missing_or_infinite_number_is_nan_in_every_dtype(values):
    assert numbers(pd.DataFrame({"j": values}), "j").tolist() == pytest.approx(
        [1, 2.5, np.nan], nan_ok=True
    )


def test_the_frame_of_the_caller_stays_as_it_was():
    runs = pd.DataFrame({"energy_net_j": [1.0, None]}, index=[7, 7], dtype=object)
    before = runs.copy(deep=True)

    whole = complete(runs, ["energy_net_j"])

    assert (len(whole.rows), whole.dropped) == (1, 1)
    pd.testing.assert_frame_equal(runs, before)


def test_an_absent_column_is_named_with_the_nearest_one():
    with pytest.raises(UsageError, match="energy_net_j") as raised:
        complete(pd.DataFrame({"energy_net": [1.0]}), ["energy_net_j"])

    assert raised.value.hint == "did you mean 'energy_net'?"


def test_text_in_a_column_of_numbers_is_an_error():
    with pytest.raises(UsageError, match="does not hold numbers"):
        numbers(pd.DataFrame({"j": ["twelve"]}), "j")


def test_levels_are_ordered_by_size_not_as_text():
    assert levels(pd.Series([128, 16, None, 64])) == [16, 64, 128]
    assert levels(pd.Series([True, False])) == [False, True]
    assert levels(pd.Series([16, "greedy"], dtype=object)) == [16, "greedy"]


def test_levels_of_text_go_by_their_mean_energy():
    runs = pd.DataFrame({"policy": ["fixed", "greedy", "auto"], "j": [9.0, 1.0, 5.0]})

    assert extremes(runs, "policy", "j") == ("greedy", "fixed")


def test_a_missing_level_is_a_group_of_its_own():
    runs = pd.DataFrame({"epsilon": [1e-8, None, None]})

    sizes = [len(rows) for _, rows in groups(runs, "epsilon")]

    assert sizes == [1, 2]
