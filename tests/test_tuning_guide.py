"""The guide to tuning one's own functions: its files are written and run."""

import re
import tomllib
from pathlib import Path

import pytest

import joulelab
from joulelab.study.study import Study

GUIDE = Path(__file__).parent.parent / "docs" / "tuning.md"
ENERGY = {"meters": ["estimate"], "interval_s": 0.02}


@pytest.fixture
def guide(tmp_path, monkeypatch):
    """The folder with the files of the guide."""
    named = re.findall(r"^```\w+ (\S+\.\w+)\n(.*?)^```", GUIDE.read_text(), re.S | re.M)
    for name, text in named:
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def tune(name, budget, **given):
    return joulelab.tune(f"{name}:objective", budget=budget, out="out", energy=ENERGY, **given)


@pytest.mark.long
def test_the_network_of_the_guide_is_tuned_with_its_checkpoints(guide):
    found = tune("digits.py", "60epochs", confirm=1)
    assert found.score > 0.9
    assert found.confirmation.mean > 0.9
    assert found.epochs <= 61
    # Trainings that went on did not begin again.
    assert (found.trials["trained"] <= 9 * found.trials["repetitions"]).all()


@pytest.mark.long
def test_the_lightning_module_of_the_guide_is_tuned(guide):
    found = tune("lit.py", "40epochs", confirm=1)
    assert found.score > 0.8
    assert (found.trials["trained"] <= 9 * found.trials["repetitions"]).all()


def test_the_estimator_of_the_guide_is_tuned(guide):
    found = tune("forest.py", "5evaluations", confirm=1)
    assert set(found.values) == {"trees", "max_features", "criterion"}
    assert 0.5 < found.score <= 1
    assert found.epochs <= 5
    assert "joulelab.tune(objective" in (guide / "forest.py").read_text()


def test_the_two_goals_of_the_guide_are_sought(guide):
    found = tune("two.py", "8evaluations", confirm=1, goals=("score", "energy"))
    assert found.second_goal == "returned"
    assert found.second == 74 * found.values["width"]
    assert found.front["score"].iloc[-1] == found.score
    assert 'goals=("score", "energy")' in (guide / "two.py").read_text()


def test_the_files_of_the_guide_are_valid(guide):
    study = Study.load(guide / "study.toml")
    assert {one.experiment for one in study.plan().runs} == {"green", "asha"}
    space = tomllib.loads((guide / "space.toml").read_text())
    assert set(space) == {"rate", "width"}
