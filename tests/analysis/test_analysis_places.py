"""How large place is against configuration."""

import numpy as np
import pytest

from joulelab.analysis.places import place_effects
from joulelab.errors import UsageError

RNG = np.random.default_rng(3)


def study(sizes=(5, 3, 8), places=4, noise=0.1):
    """Energies in joules and their configurations, of groups of unequal size; intensities."""
    configurations = [f"net {number}" for number, size in enumerate(sizes) for _ in range(size)]
    levels = np.repeat(np.arange(len(sizes)), sizes)
    energy_j = 1000 * np.exp(levels + noise * RNG.standard_normal(len(levels)))
    return energy_j, configurations, np.linspace(30, 700, places)


def names(places):
    return [f"place {number}" for number in range(places)]


def test_the_shares_of_two_by_two_are_those_worked_out_by_hand():
    # ln: 0, ln 4; ln 2, ln 8. Places differ by ln 4 = 2 ln 2, configurations by ln 2.
    found = place_effects([[1, 4], [2, 8]], ["a", "b"], ["x", "y"])
    assert found.eta_place == pytest.approx(0.8)
    assert found.eta_configuration == pytest.approx(0.2)
    assert (found.eta_runs, found.eta_rest) == pytest.approx((0, 0))
    assert (found.place_ratio, found.configuration_ratio) == pytest.approx((4, 2))
    assert (found.lowest_place, found.highest_place) == ("x", "y")
    assert (found.cheapest, found.dearest) == ("a", "b")
    assert not found.repeated


def test_shares_add_up_to_one_with_groups_of_unequal_size():
    energy_j, configurations, intensities = study()
    found = place_effects(np.outer(energy_j, intensities), configurations, names(4))
    shares = (found.eta_place, found.eta_configuration, found.eta_runs, found.eta_rest)
    assert sum(shares) == pytest.approx(1)
    assert found.eta_rest == pytest.approx(0, abs=1e-12), "energy x intensity: no interaction"
    assert found.eta_runs > 0
    assert found.repeated


def test_the_shares_are_those_of_least_squares_fits():
    """Sums of squares from nested regressions, as any package has them."""
    energy_j, configurations, intensities = study()
    grams = np.outer(energy_j, intensities)
    grams *= np.exp(0.05 * RNG.standard_normal(grams.shape))  # as a series of intensities does
    y = np.log(grams).ravel()
    run_of = np.repeat(np.arange(len(energy_j)), 4)
    net_of = np.array([int(configurations[run][-1]) for run in run_of])
    place_of = np.tile(np.arange(4), len(energy_j))

    def left(*factors):
        columns = np.column_stack(
            [np.ones(len(y)), *(np.eye(max(factor) + 1)[factor] for factor in factors)]
        )
        return float(((y - columns @ np.linalg.lstsq(columns, y, rcond=None)[0]) ** 2).sum())

    total = left()
    found = place_effects(grams, configurations, names(4))
    assert found.eta_place == pytest.approx((total - left(place_of)) / total)
    assert found.eta_configuration == pytest.approx((total - left(net_of)) / total)
    assert found.eta_runs == pytest.approx((left(net_of) - left(run_of)) / total)
    assert found.eta_rest == pytest.approx(left(run_of, place_of) / total)


def test_the_ratio_of_places_is_that_of_their_intensities_whatever_the_energies():
    energy_j, configurations, intensities = study(noise=1.0)
    found = place_effects(np.outer(energy_j, intensities), configurations, names(4))
    assert found.place_ratio == pytest.approx(700 / 30)


def test_a_common_factor_such_as_pue_changes_nothing():
    energy_j, configurations, intensities = study()
    grams = np.outer(energy_j, intensities)
    one = place_effects(grams, configurations, names(4))
    other = place_effects(1.6 * grams, configurations, names(4))
    assert other.eta_place == pytest.approx(one.eta_place)
    assert other.configuration_ratio == pytest.approx(one.configuration_ratio)


@pytest.mark.parametrize(
    ("grams", "configurations", "places", "said"),
    [
        ([[1], [2]], ["a", "b"], ["x"], "only one place"),
        ([[1, 2], [1, 2]], ["a", "a"], ["x", "y"], "only one configuration"),
        ([[1, 2], [1, 2]], ["a", "b"], ["x", "x"], "occurs twice"),
        ([[1, 0], [1, 2]], ["a", "b"], ["x", "y"], "positive"),
        ([[1, np.nan], [1, 2]], ["a", "b"], ["x", "y"], "positive"),
        ([[0.3, 0.3], [0.3, 0.3]], ["a", "b"], ["x", "y"], "no variance"),
    ],
)
def test_what_cannot_be_compared_is_refused_with_the_reason(grams, configurations, places, said):
    with pytest.raises(UsageError, match=said):
        place_effects(grams, configurations, places)


def test_a_table_that_does_not_fit_its_names_is_refused():
    with pytest.raises(ValueError, match="2 runs at 3 places"):
        place_effects([[1, 2], [1, 2]], ["a", "b"], ["x", "y", "z"])
