"""Study files as chance makes them: each is a study, or an error that says what is wrong."""

from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mutations import assert_in_words, mutated_override, mutated_text, refusal
from tiny_study import tiny

import joulelab
from joulelab.study.study import Study

MOST_RUNS = 20_000
SHIPPED = Path(joulelab.__file__).parent / "studies"
TEXTS = [path.read_text("utf-8") for path in sorted(SHIPPED.glob("*.toml"))]
CASES = settings(
    max_examples=100,
    derandomize=True,
    deadline=None,
    database=None,
    suppress_health_check=list(HealthCheck),
)
THOUSANDS = settings(CASES, max_examples=3000)


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fuzz")
    with pytest.MonkeyPatch.context() as patch:
        (folder / "settings.toml").write_text(f"[limits]\nruns = {MOST_RUNS}\n")
        patch.setenv("JOULELAB_SETTINGS", str(folder / "settings.toml"))
        yield folder / "mine.toml"


def planned(path, overrides, scale):
    study = Study.load(path, overrides, scale=scale)
    return study, study.plan().runs


def read(path, random):
    """One mutated study file, with overrides and as a miniature now and then."""
    path.write_bytes(mutated_text(random.choice([*TEXTS, tiny().spec.to_toml()]), random))
    overrides = [mutated_override(random)] if random.random() < 0.3 else []
    scale = random.choice([None, None, None, 0.5, 0.01])
    studies = []
    error = refusal(lambda: studies.append(planned(path, overrides, scale)))
    assert_in_words(error)
    if error is not None:
        return
    ((study, runs),) = studies
    # What was accepted is small enough, and its resolved file means the same.
    assert 0 < len(runs) <= MOST_RUNS
    assert len({run.run_id for run in runs}) == len(runs)
    path.write_text(study.spec.to_toml(), "utf-8")
    assert Study.load(path).spec.to_toml() == study.spec.to_toml()


@CASES
@given(random=st.randoms(use_true_random=False))
def test_a_mutated_study_file_is_a_study_or_an_error_in_words(path, random):
    read(path, random)


@pytest.mark.long
@THOUSANDS
@given(random=st.randoms(use_true_random=False))
def test_so_are_thousands_of_them(path, random):
    read(path, random)
