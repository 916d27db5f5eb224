"""Recorded trials: grids of learning curves, scattered trials, and where they are read from."""

import math
import re

import numpy as np
import pandas as pd
import pytest

from joulelab.errors import UsageError
from joulelab.tuning import recorded_tables
from joulelab.tuning.recorded import RecordedTrials
from joulelab.tuning.recorded_tables import recorded
from joulelab.tuning.replaying import Replay, replay
from joulelab.tuning.search import make_search
from joulelab.tuning.space import Choice, Float, Int

EPOCHS = 9


def curve(rate, layers, repetition):
    """Scores that rise towards a limit; the best rate is 1e-3, with 2 layers."""
    limit = 0.9 - 0.15 * abs(math.log10(rate) + 3) - 0.06 * (layers != 2) + 0.001 * repetition
    return [limit - 0.2 * math.exp(-epoch / 3) for epoch in range(1, EPOCHS + 1)]


@pytest.fixture
def grid():
    """Learning curves of every combination, in the form of the shipped table."""
    return pd.DataFrame(
        {"network": "DensePolyNN", "conv_layers": math.nan}
        | {"learning_rate": rate, "linear_layers": float(layers)}
        | {"repetition": repetition, "epoch": epoch}
        | {"validation_accuracy": score, "test_accuracy": score - 0.01}
        | {"energy_j": 0.5 * layers, "seconds": 0.1, "energy_status": "estimated"}
        for rate in (1e-4, 1e-3, 1e-2, 1e-1)
        for layers in (1, 2, 3)
        for repetition in (0, 1)
        for epoch, score in enumerate(curve(rate, layers, repetition), 1)
    )


@pytest.fixture
def scattered():
    """Final scores of random trials."""
    generator = np.random.default_rng(0)
    rates, widths = 10 ** generator.uniform(-5, -1, 40), generator.integers(8, 65, 40)
    return pd.DataFrame(
        {
            "rate": rates,
            "width": widths,
            "act": generator.choice(["relu", "tanh"], 40),
            "accuracy": 0.9 - 0.1 * np.abs(np.log10(rates) + 3),
            "energy_j": 2.0 * widths,
        }
    )


def events(table, strategy="random", budget=60.0, unit=None):
    search = make_search(strategy, table.space, 0, table.epochs)
    return list(replay(search, table, budget, unit))


def test_a_replay_books_what_every_epoch_took(grid):
    table = RecordedTrials(grid, ["learning_rate", "linear_layers"], judged="test_accuracy")

    found = events(table, "green", 100.0)

    steps = [event.step for event in found]
    joules = [0.5 * one.values["linear_layers"] * (one.end - one.start) for one in steps]
    assert [event.spent for event in found] == pytest.approx(np.cumsum(joules))
    # What is left finishes no trial, or the last step overshoots by an epoch at most.
    assert 100.0 - 0.5 * table.epochs <= found[-1].spent <= 100.0 + max(joules)
    assert found[-1].best_score == pytest.approx(table.best)
    best = np.mean([curve(1e-3, 2, repetition)[-1] for repetition in (0, 1)]) - 0.01
    assert table.best == pytest.approx(best)


def test_a_grid_is_searched_as_it_is(grid):
    table = RecordedTrials(grid, ["learning_rate", "linear_layers"])

    assert table.exact
    assert table.space.variables == {
        "learning_rate": Choice((1e-4, 1e-3, 1e-2, 1e-1), ordered=True),
        "linear_layers": Choice((1, 2, 3), ordered=True),
    }
    assert table.words == "12 trials x 2 repetitions x 9 epochs, a grid"
    assert (table.units, table.status) == (("energy_j", "seconds", "epochs"), "estimated")


def test_a_trial_that_is_proposed_anew_takes_another_recorded_repetition(grid):
    table = RecordedTrials(grid, ["learning_rate", "linear_layers"])
    searcher = Replay(make_search("random", table.space, 0, EPOCHS), table)
    seen = {}
    for _ in range(40):
        (step,) = searcher.next()
        scores, costs = searcher.run(step)
        searcher.search.observe(step, scores, costs["energy_j"])
        seen.setdefault(tuple(step.values.values()), []).append(scores[-1])

    for values, scores in seen.items():
        both = [curve(*values, repetition)[-1] for repetition in (0, 1)]
        order = np.random.default_rng(0).permutation(2)
        assert scores == pytest.approx([both[order[at % 2]] for at in range(len(scores))])
    assert max(map(len, seen.values())) > 2


def test_repetitions_are_the_same_for_all_trials_so_that_they_pair(grid):
    table = RecordedTrials(grid, ["learning_rate", "linear_layers"])
    found = events(table, budget=500.0, unit="epochs")

    for event in found:
        scores, _ = table.run(event.step, 0)
        values = event.step.values
        firsts = [curve(values["learning_rate"], values["linear_layers"], r) for r in (0, 1)]
        assert scores == pytest.approx(firsts[np.random.default_rng(0).permutation(2)[0]])


def test_of_scattered_trials_the_nearest_that_is_not_taken_is_trained(scattered):
    table = RecordedTrials(scattered, ["rate", "width", "act"], "accuracy")
    rates, widths = scattered["rate"], scattered["width"]

    assert not table.exact
    assert table.space.variables == {
        "rate": Float(rates.min(), rates.max(), log=True),
        "width": Int(widths.min(), widths.max()),
        "act": Choice(("relu", "tanh")),
    }
    row = scattered.iloc[7].to_dict()
    near = {"rate": row["rate"] * 1.01, "width": int(row["width"]), "act": row["act"]}
    first = table.nearest(near)
    assert table.values(first)["rate"] == row["rate"]
    assert table.nearest(near, [first]) not in {None, first}
    assert table.nearest(near, range(40)) is None


@pytest.mark.parametrize("strategy", ["random", "green", "bayesian-pi"])
def test_a_search_is_told_the_recorded_values_and_ends_when_all_are_taken(scattered, strategy):
    table = RecordedTrials(scattered.iloc[:12], ["rate", "width"], "accuracy")
    search = make_search(strategy, table.space, 0)

    found = list(replay(search, table, math.inf))

    told = {trial.values["rate"] for trial in search.trials}
    assert told == set(scattered["rate"].iloc[:12])
    assert len(found) == 12
    assert found[-1].spent == pytest.approx(scattered["energy_j"].iloc[:12].sum())
    assert found[-1].best_score == scattered["accuracy"].iloc[:12].max()


def test_freeze_thaw_learns_from_the_recorded_values(grid):
    rows = grid[grid["linear_layers"] == 2]
    table = RecordedTrials(rows, ["learning_rate"])
    assert not table.exact
    search = make_search("green", table.space, 0, table.epochs)
    searcher = Replay(search, table)

    (step,) = searcher.next()

    assert step.values["learning_rate"] in set(rows["learning_rate"])
    assert search.trials[0].values == step.values
    assert search._codes[0].tolist() == [step.values["learning_rate"]]


def test_a_step_costs_joules_else_seconds_else_epochs(grid):
    variables = ["learning_rate", "linear_layers"]
    seconds = RecordedTrials(grid.drop(columns="energy_j"), variables)
    epochs = RecordedTrials(grid.drop(columns=["energy_j", "seconds"]), variables)

    assert (seconds.unit, epochs.unit) == ("seconds", "epochs")
    assert seconds.status == ""
    assert events(seconds, budget=1.0)[0].spent == pytest.approx(0.9)
    assert events(epochs, budget=10)[0].spent == EPOCHS


def test_trainings_that_ended_early_are_left_out(grid):
    table = RecordedTrials(grid.iloc[1:], ["learning_rate", "linear_layers"])

    assert table.notes == ("1 training without a score after each of 9 epochs left out",)
    assert table.words == "12 trials x up to 2 repetitions x 9 epochs, a grid"
    assert len(table.scores({"learning_rate": 1e-4, "linear_layers": 1})) == 1


def test_the_shipped_table_is_read_by_network(grid, tmp_path, monkeypatch):
    monkeypatch.setattr(recorded_tables, "TABLES", tmp_path)
    with pytest.raises(UsageError, match="is missing from this installation"):
        recorded("fashion-mnist-10k/DensePolyNN")
    more = grid.assign(network="SimpleCNN", linear_layers=math.nan, conv_layers=1)
    whole = pd.concat([grid, more]).astype({"network": "category", "energy_status": "category"})
    whole.to_parquet(tmp_path / "fashion-mnist-10k.parquet")

    table = recorded("fashion-mnist-10k/DensePolyNN")

    assert list(table.space.variables) == ["learning_rate", "linear_layers"]
    assert (table.score, table.judged_by) == ("validation_accuracy", "test_accuracy")
    assert table.status == "estimated"


def test_the_columns_of_a_file_are_known_by_their_names(scattered, tmp_path):
    path = tmp_path / "mine.csv"
    scattered.assign(strategy="random", round=range(40), seed=7).to_csv(path, index=False)

    table = recorded(path)

    assert list(table.space.variables) == ["rate", "width", "act"]
    assert (table.score, table.judged_by) == ("accuracy", "accuracy")
    assert table.status == "of unknown source"


def test_rows_are_selected(scattered, tmp_path):
    scattered.to_parquet(tmp_path / "mine.parquet")

    table = recorded(tmp_path / "mine.parquet", where={"act": "relu"})

    assert list(table.space.variables) == ["rate", "width"]
    assert len(table) == (scattered["act"] == "relu").sum()


def written(frame, path):
    frame.to_csv(path, index=False)
    return path


@pytest.mark.parametrize(
    ("change", "given", "message"),
    [
        (lambda f: f.drop(columns="accuracy"), {}, 'no column of scores.*score = "..."'),
        (lambda f: f, {"score": "f1"}, "no column 'f1'.*columns: rate, width"),
        (lambda f: f, {"variables": ["rat"]}, "no column 'rat'"),
        (lambda f: f.assign(accuracy=math.nan), {}, "accuracy is missing .* in 40 rows of 40"),
        (lambda f: f.assign(energy_j=[math.inf, *[1] * 39]), {}, "energy_j .* 1 row .* row 1"),
        (lambda f: f.assign(energy_j=0.0), {}, "energy_j is 0 in every row.*leave the column"),
        (lambda f: f.assign(rate=f["rate"].where(f.index != 4)), {}, "rate .* row 5.*remove"),
        (lambda f: f.assign(width="wide"), {"variables": ["rate", "width"]}, "width is 'wide' in"),
        (lambda f: f.assign(rate=0.1), {"variables": ["rate"]}, "rate is 0.1 in every row.*leave"),
        (lambda f: f.iloc[:1], {}, "has 1 row: there is nothing to search"),
        (lambda f: f.iloc[:0], {}, "has 0 rows: there is nothing"),
        (lambda f: f[["accuracy"]], {}, "no column with different values"),
        (lambda f: f, {"where": {"act": "gelu"}}, "no row with act = 'gelu'.*act: relu, tanh"),
        (lambda f: f, {"where": {"acts": "relu"}}, "no column 'acts'.*did you mean 'act'"),
        (lambda f: f.assign(epoch=2), {}, "no training with a score after each of 2 epochs"),
        (
            lambda f: pd.concat([f, f]).assign(repetition=0),
            {},
            "row 41, has the values, repetition and epoch of another row",
        ),
    ],
)
def test_a_table_that_cannot_be_searched_is_refused(scattered, tmp_path, change, given, message):
    path = written(change(scattered), tmp_path / "mine.csv")
    with pytest.raises(UsageError) as error:
        recorded(path, **given)
    said = f"{error.value.message} {error.value.hint}"
    assert re.search(message, said), said
    assert "mine.csv" in error.value.message


@pytest.mark.parametrize(
    ("reference", "message"),
    [
        ("fashion-mnist-10k/Dense", "no curves of 'Dense'"),
        ("nowhere.csv", "no recorded trials are at nowhere.csv"),
    ],
)
def test_what_is_not_there_is_named(reference, message):
    with pytest.raises(UsageError, match=message) as error:
        recorded(reference)
    assert "fashion-mnist-10k/DensePolyNN" in error.value.hint


def test_a_file_that_is_not_a_table_is_refused(tmp_path):
    (tmp_path / "t.parquet").write_text("not a table")
    (tmp_path / "t.txt").write_text("not a table")
    with pytest.raises(UsageError, match=r"t\.parquet cannot be read"):
        recorded(tmp_path / "t.parquet")
    with pytest.raises(UsageError, match=r"t\.txt is not a table"):
        recorded(tmp_path / "t.txt")


def test_costs_below_0_and_levels_of_two_sorts_are_refused(scattered):
    scattered.loc[3, "energy_j"] = -1.0
    with pytest.raises(UsageError, match="row 4: energy_j is below 0"):
        RecordedTrials(scattered, ["rate", "width"], "accuracy")
    scattered["energy_j"], scattered["width"] = 1.0, scattered["width"].astype(object)
    scattered.loc[2, "width"] = "64-64"
    with pytest.raises(UsageError, match="width has numbers, and text such as '64-64'"):
        RecordedTrials(scattered, ["rate", "width"], "accuracy")


def test_none_is_a_level_of_a_file(scattered, tmp_path):
    scattered["act"] = ["None", "l2"] * (len(scattered) // 2) + ["l2"] * (len(scattered) % 2)
    scattered.to_csv(tmp_path / "trials.csv", index=False)
    table = recorded(tmp_path / "trials.csv", variables=["act", "rate"], score="accuracy")
    assert table.space.variables["act"] == Choice(("None", "l2"), ordered=False)
