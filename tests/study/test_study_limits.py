"""How large a study may be, what its text may hold, and how long a message about it is."""

import pytest

from joulelab.errors import JoulelabError, SettingsError, SpecError, UsageError, quoted
from joulelab.learning.images import ImageShape
from joulelab.learning.networks import verify_buildable
from joulelab.settings import load_limits
from joulelab.study import spec as study_spec
from joulelab.study.plan import check_size, configurations_of, make_plan
from joulelab.study.study import Study
from joulelab.study.study_file import load_spec
from joulelab.tuning.strategy import Grid

LONGEST = 1500
SPACE = '{ learning_rate = { type = "continuous", low = 1e-5, high = 1e-3 } }'
LAYERS = f"""\
dataset = "digits"
epochs = 1
[experiment.layers]
kind = "architecture"
network = "SimpleCNN"
rounds = 1
repetitions = 1
network_options = {{ linear_layers = 1 }}
vary = {{ conv_layers = [1, 2] }}
space = {SPACE}
"""
MANY_FACTORS = (
    "{" + ", ".join(f"x{n} = [{', '.join(map(str, range(9)))}]" for n in range(400)) + "}"
)


@pytest.fixture(autouse=True)
def settings(tmp_path, monkeypatch):
    """The settings file of a user who has none yet."""
    path = tmp_path / "settings.toml"
    monkeypatch.setenv("JOULELAB_SETTINGS", str(path))
    return path


@pytest.fixture
def nothing_laid_out(monkeypatch):
    """Laying out a configuration fails the test."""

    def refuse(*_):
        raise AssertionError("something was laid out")

    monkeypatch.setattr(study_spec, "full_factorial", refuse)


def written(folder, text):
    path = folder / "mine.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def refused(path, *overrides, **how):
    with pytest.raises(SpecError) as caught:
        make_plan(load_spec(path, overrides, **how))
    message = str(caught.value)
    assert len(message) < LONGEST
    return message


@pytest.mark.usefixtures("nothing_laid_out")
@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("experiment.layers.rounds=1000000000000", "1,000,000,000,000 rounds"),
        ("experiment.layers.repetitions=9223372036854775807", "10^19 runs in all"),
        (f"experiment.layers.vary={MANY_FACTORS}", "10^382 configurations"),
    ],
)
@pytest.mark.parametrize("scale", [None, 0.01])
def test_runs_are_counted_before_any_is_laid_out(tmp_path, settings, override, said, scale):
    message = refused(written(tmp_path, LAYERS), override, scale=scale)
    assert said in message
    assert "the limit is 200,000" in message
    assert f"raise runs under [limits] in {settings}" in message


def test_the_limit_of_runs_is_the_users_own(settings):
    spec = load_spec("yarally2023-tuning")
    settings.write_text("[limits]\nruns = 9215\n")
    with pytest.raises(SpecError, match=r"9,216 runs in all; the limit is 9,215"):
        check_size(spec)
    settings.write_text("[limits]\nruns = 9_216\n")
    check_size(spec)


@pytest.mark.parametrize(
    ("study", "override", "needed"),
    [
        ("batching", "experiment.batching.requests=1000000000000", "100,000 GB"),
        ("batching", "experiment.batching.resize=2000000", "12,000 GB"),
        ("timeline", "experiment.timeline.batch_sizes=[1, 1000000000]", "602,112 GB"),
    ],
)
def test_memory_is_counted_before_any_is_taken(settings, study, override, needed):
    message = refused(study, override)
    assert f"needs {needed} of memory or more" in message
    assert "raise memory_gb under [limits]" in message
    settings.write_text("[limits]\nmemory_gb = 1_000_000\n")
    assert make_plan(load_spec(study, [override])).runs


def test_a_step_that_does_not_fit_into_memory_is_refused_before_it_is_tried(settings):
    settings.write_text("[limits]\nmemory_gb = 0.1\n")
    path = written(settings.parent, LAYERS.replace('"digits"', '"digits?side=64"'))
    with pytest.raises(SpecError, match=r"of memory or more; the limit is 0\.1 GB"):
        Study.load(path, ["batch_size=1500", "energy.meters=['estimate']"]).predict()


@pytest.mark.parametrize(
    ("text", "said"),
    [("runs = 0", "limits.runs = 0"), ("run = 1", "did you mean 'runs'"), ("runs = true", "True")],
)
def test_a_limit_that_is_none_is_named(settings, text, said):
    settings.write_text(f"[limits]\n{text}\n")
    with pytest.raises(SettingsError, match=said):
        load_limits()


def test_whether_a_grid_has_enough_points_is_arithmetic(tmp_path, monkeypatch):
    monkeypatch.setattr(Grid, "_swap", lambda *_: pytest.fail("a point was looked for"))
    path = written(tmp_path, LAYERS)
    strategy = "experiment.layers.strategy=grid"
    assert len(make_plan(load_spec(path, [strategy, "experiment.layers.rounds=5"])).runs) == 10
    with pytest.raises(UsageError, match="the grid has 5 points, but round 6 was requested"):
        make_plan(load_spec(path, [strategy, "experiment.layers.rounds=6"]))


def test_threads_are_no_more_than_a_library_can_make(tmp_path):
    message = refused(written(tmp_path, LAYERS), "threads=1000000000")
    assert "--set threads: threads = 1000000000 is not possible" in message
    assert "1024" in message


def test_layers_are_counted_before_they_are_built():
    with pytest.raises(UsageError, match="at most 1,000"):
        verify_buildable("DensePolyNN", ImageShape(1, 8, 8), 10, {"linear_layers": 10**12})


def test_two_levels_that_read_alike_are_not_two_configurations_of_one_name(tmp_path):
    text = LAYERS.replace("[1, 2]", "[0.12345678, 0.12345679]")
    assert "two configurations have the name 'conv_layers=0.123457'" in refused(
        written(tmp_path, text)
    )


@pytest.mark.parametrize(
    "value",
    ["'" + "x" * 5000 + "'", "[" + "7," * 2000 + "]", "{ a = " * 30 + "1" + " }" * 30],
    ids=["text", "list", "tables"],
)
@pytest.mark.parametrize("key", ["epochs", "experiment.layers.vary", "device", "x" * 3000])
def test_a_message_about_a_long_value_is_short(tmp_path, key, value):
    message = refused(written(tmp_path, LAYERS), f"{key}={value}")
    assert "--set" in message
    assert key[:20] in message


def test_an_error_is_short_and_printable_whatever_it_is_about():
    error = JoulelabError("file: " + "\x1b[2J" * 1000 + " is not possible", "x" * 10_000)
    assert len(str(error)) < LONGEST
    assert str(error).isascii()
    assert "\x1b" not in str(error)
    assert error.message.startswith("file: ")
    assert error.message.endswith(" is not possible")


def test_a_value_is_quoted_as_python_writes_it_and_cut_in_its_middle():
    assert [quoted(value) for value in ("a", 0.5, True, [1, "b"])] == [
        "'a'",
        "0.5",
        "True",
        "[1, 'b']",
    ]
    assert quoted(10**5000) == "a number of 16610 bits"
    cut = quoted("a" * 10**6 + "z")
    assert len(cut) <= 120
    assert (cut[:2], cut[-2:]) == ("'a", "z'")
    assert len(quoted(dict.fromkeys(range(10**4), "x" * 100))) <= 120


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"", "experiment"),
        (b"name = 'caf\xe9'\n", "line 1 is not UTF-8"),
        (b"\n\nname = 'a\0b'\n", "line 3"),
        (b'name = "a\\u0000b"\n', "line 1: the text 'a\\x00b' contains a NUL character"),
        (b"seed = 99999999999999999999\n", "line 1: a whole number has at most 64 bits"),
        (b"seed = " + b"9" * 5000, "too many digits"),
        (b"seed = nan\n", "line 1: nan is not a finite number"),
        (b"seed = 1979-05-27T07:32:00Z\n", "1979-05-27T07:32:00+00:00 is a date"),
        (b"seed = " + b"[" * 100_000, "nests too deep"),
        (b"seed = " + b"[" * 40 + b"]" * 40, "nests deeper than 32"),
        (b"#" * 5_000_000, "longer than 4.2 MB"),
    ],
)
def test_a_text_that_nothing_can_hold_is_refused_with_its_place(tmp_path, text, said):
    message = refused(written(tmp_path, text))
    assert "mine.toml" in message
    assert said in message


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("seed=inf", "--set seed: inf is not a finite number"),
        ("seed=" + "9" * 5000, "--set seed: a number in it has too many digits"),
        ("seed=" + "[" * 5000, "--set seed: it nests too deep"),
        (".".join("a" * 40) + "=1", "nests deeper than 32"),
        ("summary=\udcff", "half of a surrogate pair"),
    ],
)
def test_the_same_holds_for_overrides(tmp_path, override, said):
    assert said in refused(written(tmp_path, LAYERS), override)


def test_the_mark_that_some_editors_put_first_is_no_part_of_a_study(tmp_path):
    marked = written(tmp_path, b"\xef\xbb\xbf" + LAYERS.encode())
    assert load_spec(marked).epochs == 1


def test_a_key_with_brackets_is_a_key(tmp_path):
    message = refused(written(tmp_path, LAYERS + '"[x]" = 1\n'))
    assert "unknown key 'experiment.layers.[x]'" in message


@pytest.mark.parametrize("path", ["~nobody-of-this-name/x.py", "x" * 5000, "."])
def test_an_impossible_path_is_an_error_of_the_study(tmp_path, path):
    with pytest.raises(UsageError, match="plug-in"):
        load_spec(written(tmp_path, f'plugins = ["{path}"]\n' + LAYERS))


@pytest.mark.parametrize("study", ["~nobody-of-this-name/x", "x" * 5000, "a.toml"])
def test_an_impossible_study_is_named(study, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.toml").mkdir()
    with pytest.raises(UsageError, match=study[:10]):
        load_spec(study)


def test_every_combination_that_a_rule_names_is_left_out(tmp_path):
    levels = list(range(40))
    rules = ", ".join(f"{{ a = {number}, b = {number} }}" for number in levels)
    text = LAYERS.replace("{ conv_layers = [1, 2] }", f"{{ a = {levels}, b = {levels} }}")
    spec = load_spec(written(tmp_path, text.replace("rounds", f"exclude = [{rules}]\nrounds")))
    kept = configurations_of(spec, "layers", spec.experiments()["layers"])
    assert len(kept) == 40 * 40 - 40
