"""Tables, tests, figures and sentences of a batching experiment."""

import json
import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from scipy import stats
from served_study import served

from joulelab.analysis.batching import MEANS, SUMS, response_column
from joulelab.kinds.batching.figures import batch_distribution, batch_sizes, front
from joulelab.kinds.batching.report import BATCHING, batching_findings
from joulelab.kinds.batching.runs import histogram, ordinal, rate
from joulelab.kinds.batching.tables import (
    chosen_policies,
    energy_effects,
    energy_of_cells,
    policy_effects,
    policy_pairs,
    response_effects,
    response_interactions,
    response_of_cells,
)
from joulelab.present import Table, terminal
from joulelab.present.style import drawn
from joulelab.report.experiment import energy_basis, experiments
from joulelab.serving.results import Served
from joulelab.serving.summary import batch_histogram, summary
from shown import bold, reason, seen


def experiment_of(folder, **options):
    return experiments(served(folder, **options))[0]


def changed(experiment, **columns):
    """The same with other values; which energy counts is found anew."""
    runs = experiment.runs.assign(**columns)
    return with_runs(experiment, runs)


def with_runs(experiment, runs):
    return replace(experiment, runs=runs, energy=energy_basis(runs, pd.DataFrame()))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Five models, five policies, three repetitions; two models are saturated throughout."""
    return experiment_of(tmp_path_factory.mktemp("batching"))


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """Two models that keep up with everything, two rates."""
    models = ("alexnet", "shufflenet_v2_x0_5")
    policies = ("fixed(1)", "fixed(8)", "fixed(16, wait_ms=300)", "greedy(128)")
    folder = tmp_path_factory.mktemp("small")
    return experiment_of(folder, models=models, policies=policies, rates=(16, 4))


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """Two models, three policies, one rate."""
    models = ("alexnet", "shufflenet_v2_x0_5")
    policies = ("fixed(1)", "fixed(8)", "greedy(128)")
    return experiment_of(tmp_path_factory.mktemp("tiny"), models=models, policies=policies)


def of_cell(experiment, model, policy):
    runs = experiment.runs
    return runs[(runs["model"] == model) & (runs["policy"] == policy)]


def test_the_energy_of_a_cell_is_the_mean_over_its_runs_of_joules_for_each_answer(whole):
    table = energy_of_cells(whole)
    row = table.frame.set_index(["model", "policy"]).loc["alexnet", "fixed(8)"]
    runs = of_cell(whole, "alexnet", "fixed(8)")
    each = runs["energy_net_j"] / runs["answered"]
    assert row["net_per_request_j"] == pytest.approx(each.mean())
    low, high = stats.t.interval(0.95, 2, each.mean(), stats.sem(each))
    assert (row["net_per_request_j_low"], row["net_per_request_j_high"]) == pytest.approx(
        (low, high)
    )
    assert row["mean_power_w"] == pytest.approx(
        (runs["energy_gross_j"] / runs["duration_s"]).mean()
    )
    assert len(table.frame) == 25
    assert "arrivals" not in seen(table)
    assert "16/s is uniform-jitter(16, 0.2)" in table.note


def test_the_least_energy_of_each_model_stands_out(whole):
    table = energy_of_cells(whole)
    least = {(table.frame["model"][row], table.frame["policy"][row]) for row, _ in bold(table)}
    assert {model for model, _ in least} == set(whole.runs["model"])
    for model, policy in least:
        rows = table.frame[table.frame["model"] == model].set_index("policy")
        assert rows["net_per_request_j"].idxmin() == policy


def test_saturated_cells_are_said_in_words_and_marked(whole):
    table = response_of_cells(whole)
    marked = seen(table).set_index(["model", "policy"])["grew"]
    assert marked["convnext_base", "greedy(128)"] == "yes"
    assert marked["alexnet", "fixed(1)"] == "no"
    assert "convnext_base, fixed(1), 16/s: offered 16/s, served 5." in table.note
    assert "the queue grew without bound" in table.note
    assert "and 5 more" in table.note


def test_a_cell_that_is_saturated_in_some_runs_says_in_how_many(small):
    first = (small.runs["repetition"] == 0) & (small.runs["policy"] == "fixed(8)")
    table = response_of_cells(changed(small, saturated=first.astype(int), saturation=""))
    assert set(seen(table)["grew"]) == {"no", "1 of 3"}
    assert "requests came faster than they left (in 1 of 3 runs)" in table.note


def test_unknown_saturation_is_not_called_none(small):
    short = "offered 16/s, served 15.9/s: the window is too short to tell"
    unsure = changed(small, saturated=None, saturation=short)
    table = response_of_cells(unsure)
    assert set(seen(table)["grew"]) == {"unknown"}
    assert f"Perhaps saturated: alexnet, fixed(1), 4/s: {short}; " in table.note
    note = response_effects(unsure).note
    assert "48 runs included for which saturation is unknown." in note
    assert "whether it keeps up is unknown in 3 of 3 runs." in batching_findings(unsure)[0]


def test_drops_have_their_reasons(small):
    hit = (small.runs["policy"] == "fixed(1)") & (small.runs["model"] == "alexnet")
    hit &= (small.runs["repetition"] == 0) & small.runs["arrivals"].str.contains("16")
    dropped = np.where(hit, 9, 0)
    made = changed(
        small,
        dropped=dropped,
        answered=512 - dropped,
        dropped_full=np.where(hit, 4, 0),
        unreadable=np.where(hit, 2, 0),
    )
    assert (
        "Dropped: alexnet, fixed(1), 16/s: 9, 0.59 % (queue full 4, unreadable image 2, "
        "the model failed, or another reason 3)." in response_of_cells(made).note
    )


def test_remarks_of_the_server_are_passed_on_with_their_cells(small):
    told = np.where(small.runs["policy"] == "greedy(128)", "batches of 128 halved to 64", "")
    made = changed(small, remarks=told)
    made = changed(made, producer=np.where(small.runs["position"] == 0, "sent 15/s of 16/s", None))
    note = energy_of_cells(made).note
    assert "sent 15/s of 16/s (alexnet, fixed(1), 16/s)" in note
    assert "batches of 128 halved to 64 (alexnet, greedy(128), 4/s; alexnet, greedy" in note


def test_missing_and_failed_cells_are_named(small):
    runs = small.runs[~((small.runs["policy"] == "fixed(8)") & (small.runs["model"] == "alexnet"))]
    made = replace(with_runs(small, runs), failed=6)
    note = energy_of_cells(made).note
    assert "No run has finished of alexnet, fixed(8), 16/s; alexnet, fixed(8), 4/s." in note
    assert "6 failed runs left out." in note
    assert len(energy_of_cells(made).frame) == 14


def test_processes_of_one_rate_keep_their_whole_names(small):
    arrivals = small.runs["arrivals"].replace({"uniform-jitter(4, 0.2)": "poisson(16)"})
    made = changed(small, arrivals=arrivals, offered_per_s=16.0)
    assert set(seen(energy_of_cells(made))["arrivals"]) == {
        "poisson(16)",
        "uniform-jitter(16, 0.2)",
    }


def test_without_idle_power_the_gross_energy_decides(small):
    made = changed(small, energy_net_j=np.nan)
    table = energy_of_cells(made)
    assert set(seen(table)["net each"]) == {"unknown"}
    assert "that of the gross energy" in table.note
    choice = chosen_policies(made).frame.iloc[0]
    runs = of_cell(made, "alexnet", choice["policy"])
    runs = runs[runs["arrivals"] == choice["arrivals"]]
    assert choice["energy_j"] == pytest.approx((runs["energy_gross_j"] / runs["answered"]).mean())
    assert "Energy per request is gross energy, measured." in batching_findings(made)


def test_the_tests_count_runs_and_not_requests(whole):
    raw = energy_effects(whole).frame.set_index("factor")
    each = whole.runs["energy_net_j"] / whole.runs["answered"]
    expected = stats.kruskal(*(rows for _, rows in each.groupby(whole.runs["model"])))
    assert raw.loc["model", "h"] == pytest.approx(expected.statistic)
    assert raw.loc["model", "n"] == 75
    assert set(raw.index) == {"model", "policy"}
    assert "energy per request" in energy_effects(whole).note


def test_saturated_runs_are_left_out_of_tests_of_response_time_and_that_is_said(whole):
    table = response_effects(whole)
    steady = whole.runs[whole.runs["saturated"] == 0]
    assert set(table.frame["n"]) == {len(steady)}
    assert f"{75 - len(steady)} saturated runs left out" in table.note
    expected = stats.kruskal(
        *(rows for _, rows in steady["response_mean_s"].groupby(steady["policy"]))
    )
    row = table.frame.set_index("factor").loc["policy"]
    assert row["h"] == pytest.approx(expected.statistic)


def test_the_policy_is_tested_within_each_model(whole):
    raw = policy_effects(whole).frame.set_index("model")
    runs = whole.runs[whole.runs["model"] == "densenet121"]
    each = runs["energy_net_j"] / runs["answered"]
    expected = stats.kruskal(*(rows for _, rows in each.groupby(runs["policy"])))
    assert raw.loc["densenet121", "energy_p"] == pytest.approx(expected.pvalue)
    assert raw.loc["densenet121", "response_k"] == 4
    assert np.isnan(raw.loc["vit_b_16", "response_p"])


def test_models_with_a_gap_are_left_out_of_the_interaction_on_response(whole):
    table = response_interactions(whole)
    assert set(table.frame["n"]) == {30}
    assert "densenet121 left out: a policy has no run that kept up." in table.note


def test_policies_that_save_the_same_share_do_not_interact_with_the_model(small):
    random = np.random.default_rng(4)
    size = small.runs["policy"].map({p: i for i, p in enumerate(small.runs["policy"].unique())})
    model = small.runs["model"].map({"alexnet": 10.0, "shufflenet_v2_x0_5": 1.0})
    shares = np.exp(-0.3 * size + random.normal(0, 0.02, len(size)))
    same = changed(small, energy_net_j=1000 * model * shares)
    said = " ".join(batching_findings(same))
    assert "which may be chance" in said
    differing = changed(small, energy_net_j=1000 * model * shares ** np.where(model > 5, 1, 0.2))
    said = " ".join(batching_findings(differing))
    assert "tune the batch size per model" in said
    assert re.search(r"energy per request by up to 6\d % for alexnet", said)


def test_pairs_are_compared_within_a_model_and_rate(small):
    table = policy_pairs(small)
    assert len(table.frame) == 2 * 2 * 6
    row = table.frame.iloc[0]
    runs = of_cell(small, row["model"], row["first"])
    runs = runs[runs["arrivals"] == row["arrivals"]]
    assert row["mean_first_j"] == pytest.approx((runs["energy_net_j"] / runs["answered"]).mean())
    assert "too few repetitions" not in table.note


def test_too_few_repetitions_for_pairs_are_said(tmp_path):
    two = experiment_of(tmp_path, models=("alexnet",), repetitions=2)
    table = policy_pairs(two)
    assert (table.frame["p_adjusted"] >= 0.05).all()
    assert "too few repetitions" in table.note
    assert "the smallest possible: alexnet at 16/s 0.082" in table.note


def test_without_a_limit_the_frugal_and_the_quick_policy_are_named(whole):
    said = {sentence.split(" at ")[0]: sentence for sentence in batching_findings(whole)}
    assert re.fullmatch(
        r"alexnet at 16/s: fixed\(128\) needs 0\.17 J \(0\.1\d to 0\.1\d J\) per request, 93 % "
        r"less than fixed\(1\), with a 99th percentile of 8\.\d\d s\.",
        said["alexnet"],
    )
    assert said["vit_b_16"] == (
        "vit_b_16 at 16/s: every policy is saturated, so none can be recommended."
    )
    assert "fixed(32)" in said["densenet121"]
    assert said["densenet121"].endswith(
        "; fixed(128) took 3.7 % less with a 99th percentile of 12.3 s, which may be chance: about "
        "4 repetitions of each would decide."
    )


def test_under_a_limit_the_best_in_time_and_the_price_of_it_are_named(whole):
    limited = changed(whole, limit_s=1.0, limit_percentile=99)
    first = batching_findings(limited)[0]
    assert first.startswith("alexnet at 16/s: fixed(8) needs 0.42 J")
    assert (
        "82 % less than fixed(1), with a 99th percentile of 0.56 s (limit: p99 ≤ 1.00 s)" in first
    )
    assert "fixed(128) would take 61 % less but answers after 8.7" in first
    table = chosen_policies(limited)
    assert "answer 99 % of the requests within 1.00 s in every run" in table.note


def test_a_limit_that_nobody_keeps_names_the_closest(small):
    limited = changed(small, limit_s=0.001, limit_percentile=99)
    first = batching_findings(limited)[0]
    assert "no policy meets the limit, a 99th percentile of at most 1.00 ms" in first
    assert "comes closest with 5" in first
    assert set(seen(chosen_policies(limited))["policy"]) == {"none"}


def test_a_limit_on_a_percentile_that_nobody_measured_is_said(small):
    limited = changed(small, limit_s=1.0, limit_percentile=90)
    why = "The limit, a 90th percentile of at most 1.00 s, is not checked"
    assert any(why in sentence for sentence in batching_findings(limited))
    assert why in chosen_policies(limited).note


def test_a_limit_on_the_median_counts_the_median(small):
    limited = changed(small, limit_s=1.0, limit_percentile=50)
    assert "50th" in seen(chosen_policies(limited))
    assert "with a 50th percentile of" in batching_findings(limited)[0]


def test_a_limit_for_all_requests_counts_the_slowest(small, undrawn):
    limited = changed(small, limit_s=1.0, limit_percentile=100)
    assert "maximum" in seen(chosen_policies(limited))
    best = chosen_policies(limited).frame.iloc[0]
    runs = of_cell(small, best["model"], best["policy"])
    runs = runs[runs["arrivals"] == best["arrivals"]]
    assert best["response_s"] == pytest.approx(runs["response_max_s"].mean())
    assert "with a maximum of" in batching_findings(limited)[0]
    assert "maximum" in front(limited).draw("screen").axes[-1].get_xlabel()


def without_energy(e):
    return changed(e, energy_net_j=np.nan, energy_gross_j=np.nan)


EDGES = {
    "whole": lambda e: e,
    "no run": lambda e: replace(with_runs(e, e.runs[:0]), factors=()),
    "no run, factors known": lambda e: with_runs(e, e.runs[:0]),
    "one run": lambda e: with_runs(e, e.runs[:1]),
    "no energy": without_energy,
    "an energy in one run": lambda e: changed(
        e, energy_net_j=e.runs["energy_net_j"].where(e.runs["position"] == 0), energy_gross_j=np.nan
    ),
    "negative energies": lambda e: changed(e, energy_net_j=-1.0),
    "energies that do not differ": lambda e: changed(e, energy_net_j=512.0),
    "one repetition": lambda e: with_runs(e, e.runs[e.runs["repetition"] == 0]),
    "one policy": lambda e: with_runs(e, e.runs[e.runs["policy"] == "greedy(128)"]),
    "one model": lambda e: with_runs(e, e.runs[e.runs["model"] == "alexnet"]),
    "only saturated": lambda e: changed(e, saturated=1),
    "only saturated, with a limit": lambda e: changed(
        e, saturated=1, limit_s=1.0, limit_percentile=99
    ),
    "nothing answered": lambda e: changed(
        e,
        answered=0,
        dropped=512,
        **{c: np.nan for c in e.runs if c.startswith("response_")},
        batch_mean=np.nan,
        throughput_per_s=0.0,
    ),
    "no measures at all": lambda e: with_runs(
        e,
        e.runs.drop(
            columns=[
                c
                for c in e.runs
                if c.startswith(("response_", "satur", "batch", "offered", "answered", "dropped"))
            ]
        ),
    ),
}


LAID_OUT = {"an energy in one run", "negative energies", "nothing answered", "one run"}
"""Edges whose figures are laid out too: with gaps, without a scale, with a single mark."""


@pytest.mark.parametrize("edge", EDGES)
def test_whatever_is_missing_is_said_and_nothing_is_made_up(tiny, edge, request):
    experiment = EDGES[edge](tiny)
    if edge not in LAID_OUT:
        request.getfixturevalue("undrawn")
    for make in BATCHING.contents:
        made = make.shown(experiment)
        if why := getattr(made, "reason", ""):
            assert re.fullmatch(r"\S.*[^.]\.", why), made
        elif isinstance(made, Table):
            assert len(seen(made)) == len(made.frame) > 0
            empty = seen(made).map(lambda cell: cell in ("nan", "None", ""))
            assert not empty.drop(columns=["as good"], errors="ignore").any(axis=None), made.key
            json.loads(made.frame.to_json(orient="records"))
            assert terminal.to_text(made)
        else:
            assert made.alt
            assert made.draw("screen").axes
    sentences = batching_findings(experiment)
    assert not re.search(r"\bnan\b|None|(?<!is )(?<!: )\bunknown\b|\binf\b", " ".join(sentences)), (
        sentences
    )
    assert all(sentence.endswith(".") for sentence in sentences)


def test_without_energies_response_times_are_shown_all_the_same(small, undrawn):
    bare = without_energy(small)
    assert len(response_of_cells(bare).frame) == 16
    assert len(response_effects(bare).frame) == 3
    assert batch_sizes(bare).draw("screen").axes
    assert reason(energy_of_cells, bare).startswith("No energy is known")


def test_the_figure_has_a_row_for_each_model_and_the_batch_on_a_scale_of_twos(small):
    figure = batch_sizes(small).draw("screen")
    assert len(figure.axes) == 4
    assert {axes.get_xscale() for axes in figure.axes} == {"log"}
    assert [axes.get_title(loc="left") for axes in figure.axes[::2]] == [
        "alexnet",
        "shufflenet_v2_x0_5",
    ]
    assert all("measured" in axes.get_ylabel() for axes in figure.axes[::2])
    assert drawn(figure, "svg")


def test_saturated_marks_are_hollow(small, undrawn):
    of_model = small.runs["model"] == "alexnet"
    made = changed(small, saturated=of_model.astype(int))
    figure = batch_sizes(made).draw("screen")

    def faces(axes):
        marked = [line for line in axes.lines if line.get_marker() not in ("None", "_", "|")]
        return {line.get_markerfacecolor() for line in marked if len(line.get_xdata())}

    assert faces(figure.axes[0]) == {"white"}
    assert "white" not in faces(figure.axes[2])


def test_the_front_holds_the_policies_that_none_beats(whole, undrawn):
    picture = front(whole)
    assert "densenet121 at 16/s: fixed(8), fixed(32), fixed(128), greedy(128)" in picture.alt
    assert "vit_b_16 at 16/s: none" in picture.alt
    names = {text.get_text() for axes in picture.draw("screen").axes for text in axes.texts}
    assert {"fixed(8)", "fixed(32)", "fixed(128)", "greedy(128)"} <= names


def test_names_beside_points_do_not_cover_each_other(small):
    figure = front(small).draw("screen")
    for axes in figure.axes:
        boxes = [text.get_window_extent() for text in axes.texts]
        for number, one in enumerate(boxes):
            for other in boxes[:number]:
                width = min(one.x1, other.x1) - max(one.x0, other.x0)
                height = min(one.y1, other.y1) - max(one.y0, other.y0)
                assert min(width, height) <= 1


def test_batches_of_all_repetitions_are_counted_together(small, undrawn):
    picture = batch_distribution(small)
    greedy = of_cell(small, "alexnet", "greedy(128)")
    greedy = greedy[greedy["arrivals"] == "uniform-jitter(4, 0.2)"]
    sizes = [size for counts in greedy["batch_histogram"] for size in counts]
    assert f"alexnet, greedy(128), 4/s mean 1.00, largest {max(sizes)}" in picture.alt
    assert len(picture.draw("screen").axes) == 2 * 2 * 2
    assert "fixed(8)" not in picture.alt


def a_window():
    """Four requests in two batches."""
    sent_s, answered_s = np.arange(1.0, 5.0), np.array([3.0, 3.0, 4.5, 6.0])
    ends_s = np.array([3.0, 6.0])
    return Served(
        due_s=sent_s,
        sent_s=sent_s,
        started_s=np.array([2.0, 2.0, 4.0, 4.0]),
        answered_s=answered_s,
        batch=np.array([0, 0, 1, 1]),
        dropped=[""] * 4,
        batch_sizes=np.array([2, 2]),
        batch_started_s=np.array([2.0, 4.0]),
        batch_answered_s=ends_s,
        waiting=np.array([2, 2]),
        model_s=np.array([0.5, 0.5]),
        prepare_s=np.array([0.1, 0.1]),
        duration_s=6.0,
    )


def test_what_is_read_is_what_a_served_window_gives():
    of_the_run = {"energy_net_j", "energy_gross_j", "mean_power_w", "duration_s"}
    read = {*MEANS, *SUMS, "saturated", "dropped_full", "unreadable"} - of_the_run
    read |= {response_column(percentile) for percentile in (50, 95, 99, 100)}
    assert read <= set(summary(a_window(), 1.0))
    assert histogram({str(k): n for k, n in batch_histogram(a_window()).items()}) == {2: 2}


@pytest.mark.parametrize(
    ("told", "read"),
    [
        ({1: 2, 8: 0}, {1: 2}),
        ('{"1": 2, "16": 3}', {1: 2, 16: 3}),
        ("not JSON", {}),
        (None, {}),
        (float("nan"), {}),
    ],
)
def test_batches_are_read_as_mapping_or_text(told, read):
    assert histogram(told) == read


def test_rates_and_percentiles_read_well():
    assert [rate(16.0), rate(1.0949), rate(1240.0), rate(None)] == [
        "16/s",
        "1.09/s",
        "1,240/s",
        "unknown",
    ]
    assert [ordinal(n) for n in (99, 50, 99.9, 91, 11, 2)] == [
        "99th",
        "50th",
        "99.9th",
        "91st",
        "11th",
        "2nd",
    ]
