import json

import numpy as np
import pytest

from joulelab.errors import UsageError
from joulelab.serving.arrivals import (
    Bursty,
    Poisson,
    Thinned,
    UniformJitter,
    parse_arrivals,
    thinned,
)
from joulelab.serving.planning.comparison import ResponseLimit, Trials
from joulelab.serving.planning.costs import BatchCosts
from joulelab.serving.planning.fleet import Site, fleet
from joulelab.serving.planning.simulation import response_percentile_s, simulate
from joulelab.serving.policies import Fixed, parse_policy

SIZES = (1, 4, 16)
COSTS = BatchCosts(
    SIZES,
    tuple(0.004 + 0.001 * size for size in SIZES),
    tuple(0.5 + 0.05 * size for size in SIZES),
    idle_w=40.0,
)
LIMIT = ResponseLimit(99, 0.1)
QUICK = Trials(windows=2, requests=1000)


def sized(text, costs=COSTS, limit=LIMIT, **options):
    return fleet(costs, parse_arrivals(text), limit, **{"trials": QUICK, **options})


def test_power_energy_and_carbon_follow_from_replicas_and_requests():
    made = sized("poisson(1e6)", site=Site(g_per_kwh=300, pue=1.2))
    net_j = made.outcome.mean_per_request("net")
    assert made.power_w == pytest.approx(40 * made.replicas + 1e6 * net_j)
    assert made.joules_per_request == pytest.approx(made.power_w / 1e6)
    assert made.kwh_per_day == pytest.approx(made.power_w * 24 / 1000 * 1.2)
    assert made.co2e_kg_per_day == pytest.approx(made.kwh_per_day * 0.3)
    # 16 requests take 20 ms, so that 1250 replicas would just keep up.
    assert 1250 < made.replicas < 1400


def test_the_fleet_holds_the_limit_when_all_its_queues_are_simulated():
    made = sized("poisson(6000)", trials=Trials(windows=3, requests=4000))
    times_s = Poisson(6000).times_s(60_000, np.random.default_rng(5))
    policy = parse_policy(made.policy)
    whole = simulate(times_s, policy, COSTS, made.replicas, "split", seed=2)
    assert response_percentile_s(whole.response_s, 99) <= 1.1 * LIMIT.seconds
    assert whole.gross_j_per_request == pytest.approx(made.joules_per_request, rel=0.05)
    fewer = simulate(times_s, policy, COSTS, made.replicas - 2, "split", seed=2)
    assert response_percentile_s(fewer.response_s, 99) > LIMIT.seconds


def test_the_fleet_without_batching_stands_beside_it():
    made = sized("poisson(3000)")
    assert made.baseline.policy == "fixed(1)"
    assert made.baseline.replicas > 15
    assert made.saving == pytest.approx(1 - made.power_w / made.baseline.power_w)
    assert made.saving > 0.5
    alone = sized("poisson(50)", candidates=["fixed(1)"])
    assert alone.baseline.policy == alone.policy == "fixed(1)"
    assert alone.saving == 0


def test_a_tighter_limit_needs_more_watts():
    loose, tight = (sized("poisson(20000)", limit=ResponseLimit(99, s)) for s in (0.2, 0.012))
    assert tight.outcome.response_s <= 0.012
    assert tight.replicas > loose.replicas
    assert tight.power_w > loose.power_w


def test_a_limit_below_the_time_of_a_batch_cannot_be_kept():
    with pytest.raises(
        UsageError, match=r"meets p99 within 4.00 ms: a batch takes at least 5.00 ms"
    ):
        sized("poisson(100)", limit=ResponseLimit(99, 0.004))


def test_a_policy_that_never_holds_the_limit_is_named():
    with pytest.raises(UsageError, match=r"were tried, and the quickest policy, fixed\(16\) at "):
        sized("poisson(100)", limit=ResponseLimit(99, 0.021), candidates=["fixed(16)"])


def test_where_no_fleet_can_do_without_batching_it_is_said():
    """Batches of four are quicker than one request alone: odd, but measured."""
    odd = BatchCosts((1, 4), (0.1, 0.01), (1.0, 1.0), 10.0)
    made = sized("poisson(2000)", odd, ResponseLimit(95, 0.05), candidates=["fixed(4)"])
    assert made.baseline is None
    assert made.saving is None
    assert "without batching, no number of replicas meets p95 within 50.0 ms" in made.remarks


def test_without_energies_the_fewest_replicas_are_found_and_no_power_is_made_up():
    made = sized("poisson(3000)", BatchCosts(SIZES, COSTS.seconds), site=Site(300))
    assert made.replicas < made.baseline.replicas
    assert (made.power_w, made.joules_per_request, made.kwh_per_day) == (None, None, None)
    assert (made.co2e_kg_per_day, made.saving) == (None, None)


def test_without_an_intensity_there_is_energy_and_no_carbon():
    made = sized("poisson(300)")
    assert made.kwh_per_day > 0
    assert made.co2e_kg_per_day is None


def test_poisson_streams_split_at_random_stay_what_they_are():
    assert thinned(Poisson(900), 3, 10) == (Poisson(300), "")
    assert thinned(Bursty(900, 2, 3), 3, 10) == (Bursty(300, 2, 3), "")
    assert thinned(UniformJitter(900), 1, 10) == (UniformJitter(900), "")


def test_a_steady_beat_split_at_random_becomes_uneven():
    share, remark = thinned(UniformJitter(4000), 40, 1000)
    assert remark == ""
    assert share.rate_per_s == 100
    gaps_s = np.diff(share.times_s(20_000, np.random.default_rng(1)), prepend=0.0)
    assert gaps_s.mean() == pytest.approx(0.01, rel=0.03)
    # A geometric number of gaps: relative variance 1 - 1/40, and a little for the jitter.
    assert gaps_s.std() / gaps_s.mean() == pytest.approx(0.988, abs=0.03)
    assert share.at_rate(50).rate_per_s == 50
    assert str(share) == "uniform-jitter(4000, 0.2) split among 40"


def test_a_share_keeps_the_times_of_the_whole():
    whole = UniformJitter(10, 0)
    times_s = Thinned(whole, 3).times_s(50, np.random.default_rng(1))
    assert np.allclose(times_s * 10, np.round(times_s * 10))
    assert (np.diff(times_s) > 0.05).all()
    assert Thinned(whole, 3).times_s(0, np.random.default_rng(1)).shape == (0,)


def test_what_cannot_be_split_exactly_is_said(tmp_path):
    many, remark = thinned(UniformJitter(1e6), 10_000, 1000)
    assert many == Poisson(100)
    assert "is approximated by Poisson arrivals" in remark
    (tmp_path / "a.csv").write_text("\n".join(str(k / 100) for k in range(1, 20_001)))
    trace = parse_arrivals("trace(a.csv)", tmp_path)
    few, remark = thinned(trace, 4, 1000)
    assert remark == ""
    assert 4500 < few.most < 5000
    assert few.times_s(few.most, np.random.default_rng(1))[-1] <= 200
    slow, remark = thinned(trace, 400, 1000)
    assert slow.rate_per_s == pytest.approx(trace.rate_per_s / 400)
    assert "each of 400 replicas gets trace(a.csv) slowed down to 0.25/s" in remark


@pytest.mark.parametrize(
    ("site", "message"), [((-1.0,), "not a carbon intensity"), ((300.0, 0.9), "a PUE of 0.9")]
)
def test_an_impossible_site_is_refused(site, message):
    with pytest.raises(UsageError, match=message):
        Site(*site)


def test_a_single_policy_can_be_sized():
    made = sized("poisson(1000)", candidates=["fixed(1)"])
    assert made.policy == str(Fixed(1))
    assert made.replicas > 5


def test_a_fleet_as_plain_data_holds_the_one_without_batching():
    made = sized("poisson(3000)", site=Site(300, 1.2))
    data = json.loads(json.dumps(made.to_dict(), allow_nan=False))
    assert data["replica"]["policy"] == made.policy
    assert data["baseline"]["replicas"] == made.baseline.replicas
    assert data["co2e_kg_per_day"] == made.co2e_kg_per_day
    alone = sized("poisson(50)", candidates=["fixed(1)"]).to_dict()
    assert (alone["saving"], alone["baseline"]["replicas"]) == (0, alone["replicas"])
    assert alone["baseline"]["baseline"] is None
