"""Searches at work: budgets, confirmation, targets, resuming; nothing is trained here."""

import json
import math
from contextlib import contextmanager
from dataclasses import replace
from types import SimpleNamespace

import pytest

from joulelab.budget import parse_budget
from joulelab.errors import MeterError, StoreMismatchError, UsageError
from joulelab.kinds.searching.booked import KIND
from joulelab.kinds.searching.growing import GrowingSearcher
from joulelab.kinds.searching.journal import Journal
from joulelab.kinds.searching.loop import FRESH, Asked, run_search
from joulelab.kinds.searching.spent import Spent, total_spent
from joulelab.kinds.searching.steps import PlainSearcher, Result
from joulelab.kinds.searching.workload import SearchWorkload
from joulelab.study.store import PlannedRun, Store
from joulelab.tuning.search import make_search
from joulelab.tuning.space import Float, Int, SearchSpace

SPACE = SearchSpace({"x": Float(0.0, 1.0), "n": Int(1, 4)})
EPOCHS = 9


class Trainer:
    """Scores without training: high near x = 0.3, rising with the epochs; 2 J an epoch."""

    most = 1

    def __init__(self, die_after=math.inf, joules=2.0, tuner_j=0.0, give=None):
        self.steps, self.die_after, self.joules, self.give = [], die_after, joules, give
        self.tuner_j = tuner_j

    def train(self, steps, purpose, limit):
        return [self._one(step) for step in steps]

    def _one(self, step):
        if len(self.steps) >= self.die_after:
            raise KeyboardInterrupt
        self.steps.append(step)
        if self.give is not None:
            return self.give(step)
        return finished(step, self.joules)

    def stack(self, step):
        return None

    @contextmanager
    def thinking(self):
        yield SimpleNamespace(spent=Spent(joules=self.tuner_j))


def score(step, epoch):
    noise = 0.01 * math.sin(step.trial + 7 * step.repetition)
    return -abs(step.values["x"] - 0.3) - 0.1 / epoch + noise


def finished(step, joules=2.0):
    end = step.end or EPOCHS
    epochs = range(step.start + 1, end + 1)
    spent = Spent(0.5 * len(epochs), len(epochs), None if joules is None else joules * len(epochs))
    state = "finished" if end == EPOCHS else "paused"
    return Result(state, [score(step, epoch) for epoch in epochs], spent)


def search(path, trainer, strategy="asha", listen=lambda _: None, **asked):
    budget = asked.pop("budget", "60epochs")
    asked = {"header": {"seed": 0}, "budget": budget and parse_budget(budget), **asked}
    searcher = PlainSearcher(make_search(strategy, SPACE, 0, EPOCHS))
    return run_search(searcher, trainer, Journal(path / "steps.jsonl"), Asked(**asked), listen)


@pytest.mark.parametrize("strategy", ["random", "asha", "halving", "hyperband", "green"])
@pytest.mark.parametrize("budget", ["60epochs", "7evaluations", "30s", "120J"])
def test_a_budget_is_kept_to_an_epoch_or_two_per_cent(tmp_path, strategy, budget):
    outcome = search(tmp_path, Trainer(), strategy, budget=budget)
    epochs = {"60epochs": 60, "7evaluations": 63, "30s": 60, "120J": 60}[budget]
    assert outcome.spent.epochs <= max(epochs + 1, 1.02 * epochs)
    assert outcome.spent.epochs >= 0.7 * epochs or "gain" in outcome.stopped
    assert outcome.spent.joules == 2 * outcome.spent.epochs


def test_the_tuners_own_work_counts(tmp_path):
    outcome = search(tmp_path, Trainer(tuner_j=20.0), "random", budget="200J", confirm=0)
    assert outcome.parts["tuner"].joules >= 20.0
    assert outcome.spent.joules == outcome.parts["tuner"].joules + outcome.parts["search"].joules
    assert outcome.spent.joules <= 204.0


def test_the_best_is_confirmed_on_seeds_that_the_search_has_not_seen(tmp_path):
    trainer = Trainer()
    outcome = search(tmp_path, trainer, "random", budget="100epochs", confirm=2)
    fresh = [step for step in trainer.steps if step.repetition >= FRESH]
    assert [step.repetition for step in fresh] == [FRESH, FRESH + 1]
    assert {step.trial for step in fresh} == {outcome.trial}
    assert outcome.confirmed == pytest.approx([score(step, EPOCHS) for step in fresh])
    low, high = outcome.interval
    assert low < outcome.mean < high


def test_a_target_stops_the_search_once_fresh_seeds_confirm_it(tmp_path):
    trainer = Trainer()
    outcome = search(tmp_path, trainer, "random", budget=None, target=-0.15)
    assert outcome.stopped == "the target is reached and confirmed"
    assert outcome.mean >= -0.15
    assert len(outcome.confirmed) == 3


def test_a_lucky_trial_does_not_reach_the_target(tmp_path):
    def give(step):
        lucky = step.trial == 1 and step.repetition == 0
        value = 1.0 if lucky else 0.0
        return Result("finished", [value] * EPOCHS, Spent(1.0, EPOCHS, 1.0))

    outcome = search(tmp_path, Trainer(give=give), "random", budget="130epochs", target=0.9)
    assert outcome.stopped == "the budget of 130 epochs is spent"


@pytest.mark.parametrize("strategy", ["random", "asha", "green"])
@pytest.mark.parametrize("died", [1, 4])
def test_a_search_that_was_killed_goes_on_as_if_it_had_not_been(tmp_path, strategy, died):
    whole = Trainer()
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    expected = search(tmp_path / "a", whole, strategy)
    with pytest.raises(KeyboardInterrupt):
        search(tmp_path / "b", Trainer(die_after=died), strategy)
    with (tmp_path / "b" / "steps.jsonl").open("a") as file:
        file.write('{"step": {"tri')  # a killed process leaves half a line
    rest = Trainer()
    resumed = search(tmp_path / "b", rest, strategy)
    assert rest.steps == whole.steps[died:]
    assert (resumed.trial, resumed.score, resumed.confirmed) == (
        expected.trial, expected.score, expected.confirmed,
    )  # fmt: skip
    assert resumed.spent == expected.spent
    again = Trainer()
    assert search(tmp_path / "b", again, strategy).score == expected.score
    assert not again.steps


def test_another_search_is_refused_with_what_differs(tmp_path):
    search(tmp_path, Trainer())
    with pytest.raises(StoreMismatchError, match="seed is 0 there and 1 here"):
        search(tmp_path, Trainer(), header={"seed": 1})
    with pytest.raises(StoreMismatchError, match="end is 1 there and 9 here"):
        search(tmp_path, Trainer(), "random")


def test_a_budget_below_one_evaluation_is_refused(tmp_path):
    with pytest.raises(UsageError, match="8 epochs is below one evaluation"):
        search(tmp_path, Trainer(), budget="8epochs")
    with pytest.raises(UsageError, match="below one evaluation"):
        search(tmp_path, Trainer(), budget="0.5evaluations")
    outcome = search(tmp_path, Trainer(), "random", budget="10J")
    assert outcome.stopped == "the budget of 10.0 J is below one evaluation, which takes 18.0 J"


def test_three_failures_without_a_success_end_it(tmp_path):
    def give(step):
        return Result("failed", [], Spent(1.0, 1.0, 2.0), f"ValueError: {step.trial}")

    outcome = search(tmp_path, Trainer(give=give), "random")
    assert outcome.failure == "the first 3 trials failed: ValueError: 0"
    assert outcome.values == {}


def test_failures_after_a_success_do_not_end_it(tmp_path):
    def give(step):
        if step.trial:
            return Result("failed", [], Spent(1.0, 1.0, 2.0), "ValueError: no")
        return finished(step)

    outcome = search(tmp_path, Trainer(give=give), "random", budget="60epochs", confirm=0)
    assert outcome.trial == 0
    assert outcome.stopped == "the budget of 60 epochs is spent"


def test_an_unknown_energy_ends_a_budget_of_energy(tmp_path):
    with pytest.raises(MeterError, match="budget of 120 J cannot be kept"):
        search(tmp_path, Trainer(joules=None), budget="120J")


def test_progress_says_what_is_spent_and_what_may_be_gained(tmp_path):
    told = []
    search(tmp_path, Trainer(), "green", listen=told.append)
    assert told[0].doing.startswith("trial 0")
    assert told[-1].best is not None
    assert max(one.spent for one in told) <= 61
    assert any(one.gain is not None for one in told)


# Define by run


def grow(path, give, strategy="random", budget="80epochs", space=None, epochs=None):
    trainer = Trainer(give=give)
    searcher = GrowingSearcher(strategy, 0, space, epochs)
    asked = Asked({}, parse_budget(budget), confirm=0)
    outcome = run_search(searcher, trainer, Journal(path / "steps.jsonl"), asked)
    return searcher, trainer, outcome


def asking(step, stoppable=True):
    """Asks for x, and in some trials for m too."""
    tables = {"x": {"type": "continuous", "low": 0.0, "high": 1.0}}
    used = {"x": step.values.get("x", 0.5)}
    if step.trial % 3 == 2:
        tables["m"] = {"type": "integer", "low": 1, "high": 5}
        used["m"] = step.values.get("m", 4)
    drawn = bool(used.keys() - step.values.keys())
    end = step.end or EPOCHS
    value = [-abs(used["x"] - 0.3)] * (end - step.start)
    spent = Spent(1.0, end - step.start, 1.0)
    state = "finished" if end == EPOCHS else "paused"
    return Result(state, value, spent, asked=tables, values=used, drawn=drawn, stoppable=stoppable)


@pytest.mark.parametrize("strategy", ["random", "asha", "green"])
def test_the_space_and_the_epochs_are_what_the_objective_tells(tmp_path, strategy):
    searcher, trainer, outcome = grow(tmp_path, asking, strategy)
    assert set(searcher.space) == {"x", "m"}
    assert searcher.epochs == EPOCHS
    assert trainer.steps[0].end == 0
    assert set(trainer.steps[-1].values) == {"x", "m"}
    assert outcome.score == max(
        -abs(one.values["x"] - 0.3) for one in searcher.trials if one.epochs() == EPOCHS
    )
    lines = (tmp_path / "steps.jsonl").read_text().splitlines()
    (tmp_path / "steps.jsonl").write_text("\n".join(lines[: len(lines) // 2]) + "\n")
    _, resumed, again = grow(tmp_path, asking, strategy)
    assert resumed.steps == trainer.steps[len(trainer.steps) - len(resumed.steps) :]
    assert again.score == outcome.score
    assert len(lines) == len((tmp_path / "steps.jsonl").read_text().splitlines())


def test_an_objective_that_cannot_be_stopped_is_evaluated_as_a_whole(tmp_path):
    searcher, trainer, _ = grow(tmp_path, lambda step: asking(step, stoppable=False), "asha")
    assert searcher.epochs == 1
    assert {step.end for step in trainer.steps[1:]} == {1}


def test_scores_beyond_a_step_are_not_trained_again(tmp_path):
    def give(step):
        later = [score(step, epoch) for epoch in range(2, EPOCHS + 1)]
        return Result("paused", [score(step, 1)], Spent(1.0, EPOCHS, 1.0), beyond=later)

    searcher, trainer, _ = grow(tmp_path, give, "asha", space=SPACE, epochs=EPOCHS)
    assert all(step.start == 0 for step in trainer.steps)
    assert any(one.epochs() == EPOCHS for one in searcher.trials)


def test_a_journal_has_one_line_of_json_for_each_step(tmp_path):
    trainer = Trainer()
    search(tmp_path, trainer)
    lines = [json.loads(line) for line in (tmp_path / "steps.jsonl").read_text().splitlines()]
    assert [line["step"]["trial"] for line in lines if "step" in line] == [
        step.trial for step in trainer.steps
    ]
    assert "header" in lines[0]


def test_steps_too_short_for_the_sensor_add_up_to_what_is_measured():
    short = Spent(0.01, joules=0.1, error_j=0.3, status="estimated", too_short=True)
    long = Spent(9.0, joules=90.0, error_j=4.0)
    assert total_spent([long, short]).status == "measured"
    assert total_spent([total_spent([short, short]), long]).status == "measured"
    assert total_spent([replace(long, status="estimated"), short]).status == "estimated"
    assert total_spent([short, short]).status == "estimated"


def test_a_step_that_no_sensor_has_read_makes_the_sum_an_estimate_however_small_it_is():
    computed = Spent(0.01, joules=0.1, error_j=0.3, status="estimated")
    long = Spent(9.0, joules=90.0, error_j=4.0)
    short = replace(computed, too_short=True)
    assert total_spent([long, computed]).status == "estimated"
    assert total_spent([total_spent([short, computed]), long]).status == "estimated"


def test_a_step_killed_before_its_first_heartbeat_is_no_measured_0_j(tmp_path):
    run = PlannedRun("r", 0, 0, "e", "green-tuning", "c", {}, 0, 0, 0)
    with Store.open(tmp_path, "name = 's'\n[experiment.e]\nkind = 'x'\n") as store:
        store.plan([run])
        store.give_up(store.begin(1, KIND, 1000.0, [run]), "it was killed")
        journal = Journal(None)
        SearchWorkload._note_lost(None, journal, run, SimpleNamespace(store=store))
    lost = Spent.from_dict(journal.lines[0]["lost"])
    whole = total_spent([Spent(9.0, joules=90.0, error_j=4.0), lost])
    assert (whole.joules, whole.error_j, whole.status) == (90.0, None, "estimated")
    assert "killed before its first heartbeat" in whole.reason
