import numpy as np
import pytest

from joulelab.analysis.resampling import batches, draw_counts, percentile_interval, require_chance
from joulelab.errors import UsageError


def test_each_group_is_drawn_from_itself_as_often_as_it_has_members():
    groups = [np.array([0, 3, 4]), np.array([1])]

    counts = draw_counts(np.random.default_rng(0), 4000, groups, 5)

    assert (counts[:, groups[0]].sum(axis=1) == 3).all()
    assert (counts[:, 1] == 1).all()
    assert (counts[:, 2] == 0).all()  # in no group
    # Each of three is drawn Binomial(3, 1/3) times: 8/27 of the resamples are without it.
    np.testing.assert_allclose((counts[:, groups[0]] == 0).mean(axis=0), 8 / 27, atol=0.03)


def test_batches_add_up_and_hold_at_least_one_resample():
    assert sum(batches(1000, 24_576)) == 1000
    assert list(batches(3, 10**9)) == [1, 1, 1]
    assert list(batches(0, 5)) == []


def test_undefined_resamples_are_left_out_of_the_interval():
    values = np.array([np.nan, *np.arange(5.0)])

    assert percentile_interval(values, 0.5) == (1.0, 3.0)
    assert np.isnan(percentile_interval(np.array([np.nan]))).all()


@pytest.mark.parametrize("confidence", [0.0, 1.0, 95.0])
def test_a_confidence_that_is_no_share_is_refused(confidence):
    with pytest.raises(UsageError, match="confidence"):
        require_chance(10, confidence)
