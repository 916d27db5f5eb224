"""The study file: what is accepted, and what a mistake is told."""

import tomllib
from pathlib import Path

import pytest

from joulelab.errors import PluginError, SpecError, UnknownNameError
from joulelab.learning.engine import Hyperparameters
from joulelab.learning.protocol import protocols
from joulelab.study.plan import make_plan
from joulelab.study.study_file import check_spec, load_spec, shipped_studies

MINIMAL = """\
dataset = "digits"
epochs = 1

[experiment.layers]
kind = "architecture"
network = "SimpleCNN"
rounds = 1
repetitions = 1

[experiment.layers.vary]
conv_layers = [1, 2]

[experiment.layers.space]
learning_rate = { type = "continuous", low = 1e-5, high = 1e-3 }
"""


def written(folder: Path, text: str) -> Path:
    path = folder / "mine.toml"
    path.write_text(text)
    return path


def mistake(folder: Path, old: str, new: str) -> str:
    assert old in MINIMAL
    with pytest.raises(SpecError) as caught:
        load_spec(written(folder, MINIMAL.replace(old, new)))
    assert caught.value.exit_code == 2
    message = str(caught.value)
    assert message.count("\n") == 1, f"a message of two lines: {message}"
    return message


def test_a_minimal_study_file_gets_every_default(tmp_path):
    spec = load_spec(written(tmp_path, MINIMAL))
    assert spec.name == "mine"
    assert (spec.batch_size, spec.protocol, spec.engine, spec.score) == (
        512,
        "default",
        "reference",
        "mean",
    )


def test_one_engine_trains_round_by_round_in_fp32_unless_asked_otherwise(tmp_path):
    spec = load_spec(written(tmp_path, MINIMAL))
    assert (spec.precision, spec.rounds_together, spec.mix_engines) == ("fp32", 1, False)
    keys = 'precision = "bf16"\nrounds_together = 4\nmix_engines = true\n'
    spec = load_spec(written(tmp_path, keys + MINIMAL))
    assert (spec.precision, spec.rounds_together, spec.mix_engines) == ("bf16", 4, True)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("precision", '"fp16"'),
        ("precision", '"torch-default"'),
        ("rounds_together", "0"),
        ("rounds_together", "2.5"),
        ("mix_engines", '"yes"'),
        ("mix_engines", "1"),
    ],
)
def test_a_wrong_way_of_training_is_refused(tmp_path, key, value):
    message = mistake(tmp_path, "epochs = 1", f"epochs = 1\n{key} = {value}")
    assert f"line 3: {key} = " in message
    assert "is not possible" in message


@pytest.mark.parametrize("name", sorted(shipped_studies()))
def test_a_shipped_study_is_valid_and_says_what_it_is(name):
    spec = load_spec(name)
    assert spec.name == name
    assert spec.summary


@pytest.mark.parametrize(
    ("name", "configurations", "trainings"),
    # Over two data sets: 18,432 and 3,072 trainings, as Yarally et al. (CAIN 2023, section V) have.
    [("yarally2023-tuning", 18, 18_432 // 2), ("yarally2023-architecture", 8, 3_072 // 2)],
)
def test_the_studies_of_cain_2023_have_as_many_trainings_as_the_paper(
    name, configurations, trainings
):
    plan = make_plan(load_spec(name))
    assert len(plan.configurations) == configurations
    assert len(plan.runs) == trainings


def test_the_architecture_experiment_has_16_rounds_as_in_the_data_by_a_setting():
    spec = load_spec("yarally2023-architecture", ["experiment.architecture.rounds=16"])
    assert len(make_plan(spec).runs) == 3_072


def test_the_studies_of_cain_2023_train_and_search_as_the_published_code_does():
    tuning, layers = (load_spec(f"yarally2023-{kind}") for kind in ("tuning", "architecture"))
    for spec in (tuning, layers):
        assert (spec.protocol, spec.epochs, spec.batch_size) == ("yarally2023", 25, 512)
        proposed = Hyperparameters(beta2=0.85)
        assert protocols.get(spec.protocol).adjusted(proposed).beta2 == 0.999
    space = tuning.experiments()["tuning"].search_space()
    assert list(space.variables) == ["learning_rate", "beta1", "beta2", "epsilon", "weight_decay"]
    assert space.grid(5)["beta1"] == pytest.approx([0.1, 0.28, 0.46, 0.64, 0.82])
    assert space.grid(5)["beta2"] == pytest.approx([0.8, 0.84, 0.88, 0.92, 0.96])
    narrow = layers.experiments()["architecture"].search_space().variables
    assert (narrow["learning_rate"].high, narrow["beta1"].low) == (1e-3, 0.5)


def test_the_resolved_file_is_a_study_file_that_means_the_same():
    spec = load_spec("quickstart")
    assert check_spec(tomllib.loads(spec.to_toml())) == check_spec(spec.to_dict())


def test_an_unknown_key_names_file_line_and_the_nearest_key(tmp_path):
    message = mistake(tmp_path, "epochs = 1", "epochs = 1\nbatchsize = 64")
    assert "mine.toml, line 3: unknown key 'batchsize'" in message
    assert "did you mean 'batch_size'?" in message


def test_an_unknown_key_of_an_experiment_names_its_line(tmp_path):
    message = mistake(tmp_path, "rounds = 1", "rounds = 1\nrepetition = 2")
    assert "line 8: unknown key 'experiment.layers.repetition'" in message
    assert "did you mean 'repetitions'?" in message


def test_an_unknown_key_of_the_energy_table_names_the_nearest(tmp_path):
    message = mistake(tmp_path, "[experiment.layers]", "[energy]\nidle = 1\n\n[experiment.layers]")
    assert "unknown key 'energy.idle'" in message
    assert "did you mean 'idle_s'?" in message


def test_a_wrong_type_is_named_with_its_value(tmp_path):
    message = mistake(tmp_path, "epochs = 1", 'epochs = "many"')
    assert "line 2: epochs = 'many' is not possible" in message


@pytest.mark.parametrize("key", ["rounds", "repetitions"])
def test_zero_rounds_or_repetitions_are_refused(tmp_path, key):
    message = mistake(tmp_path, f"{key} = 1", f"{key} = 0")
    assert f"experiment.layers.{key} = 0 is not possible" in message


def test_a_missing_key_is_named(tmp_path):
    assert "the key 'epochs' is missing" in mistake(tmp_path, "epochs = 1\n", "")


def test_a_search_space_that_reaches_beta1_of_one_is_refused(tmp_path):
    message = mistake(
        tmp_path,
        "low = 1e-5, high = 1e-3 }",
        'low = 1e-5, high = 1e-3 }\nbeta1 = { type = "continuous", low = 0.5, high = 1.0 }',
    )
    assert "beta1" in message


def test_an_open_upper_bound_of_one_is_accepted(tmp_path):
    beta = 'beta1 = { type = "continuous", low = 0.5, high = 1.0, high_exclusive = true }'
    assert load_spec(written(tmp_path, MINIMAL + beta)).experiments()["layers"].space["beta1"]


def test_a_fixed_beta1_of_one_is_refused(tmp_path):
    message = mistake(tmp_path, "rounds = 1", "rounds = 1\nfixed = { beta1 = 1.0 }")
    assert "experiment.layers.fixed" in message
    assert "beta1" in message


def test_an_unknown_hyperparameter_names_the_nearest(tmp_path):
    message = mistake(tmp_path, "learning_rate =", "learningrate =")
    assert "learning_rate" in message


@pytest.mark.parametrize(
    ("old", "new", "suggested"),
    [
        ('network = "SimpleCNN"', 'network = "SimpelCNN"', "SimpleCNN"),
        ('dataset = "digits"', 'dataset = "digit"', "digits"),
        ('kind = "architecture"', 'kind = "architectures"', "architecture"),
        ("epochs = 1", 'epochs = 1\nprotocol = "yarally"', "yarally2023"),
        ("rounds = 1", 'rounds = 1\nstrategy = "randon"', "random"),
    ],
)
def test_an_unknown_name_suggests_the_nearest(tmp_path, old, new, suggested):
    assert f"did you mean '{suggested}'?" in mistake(tmp_path, old, new)


def test_broken_toml_names_the_line(tmp_path):
    with pytest.raises(SpecError, match=r"mine\.toml: it is not valid TOML.*line 1"):
        load_spec(written(tmp_path, "dataset = \n"))


def test_a_level_that_stands_twice_is_refused(tmp_path):
    assert "twice" in mistake(tmp_path, "[1, 2]", "[1, 2, 1]")


def test_a_factor_that_would_hide_a_column_of_the_results_is_refused(tmp_path):
    assert "'seed'" in mistake(tmp_path, "conv_layers = [1, 2]", "seed = [1, 2]")


def test_an_override_replaces_a_value_and_a_bare_word_is_a_string():
    overrides = ["dataset=fashion-mnist", "experiment.tuning.rounds=2", "energy.idle_s=0"]
    spec = load_spec("quickstart", overrides)
    assert spec.dataset == "fashion-mnist"
    assert spec.experiments()["tuning"].rounds == 2
    assert spec.energy.idle_s == 0


def test_a_wrong_override_is_named_as_one():
    with pytest.raises(SpecError, match=r"--set datset: unknown key") as caught:
        load_spec("quickstart", ["datset=cifar10"])
    assert "did you mean 'dataset'?" in str(caught.value)
    with pytest.raises(SpecError, match=r"did you mean 'experiment\.tuning\.rounds'\?"):
        load_spec("quickstart", ["rounds=3"])


def test_a_table_that_an_override_made_impossible_names_the_override():
    override = "experiment.tuning.space.beta1.high_exclusive=false"
    with pytest.raises(SpecError, match=r"--set experiment\.tuning\.space\.beta1"):
        load_spec("quickstart", [override])


def test_an_override_without_a_value_is_refused():
    with pytest.raises(SpecError, match="key=value"):
        load_spec("quickstart", ["epochs"])


def test_an_unknown_study_suggests_the_nearest():
    with pytest.raises(UnknownNameError, match="did you mean 'quickstart'"):
        load_spec("quikstart")


def test_a_missing_study_file_is_named(tmp_path):
    with pytest.raises(SpecError, match=r"nothing\.toml"):
        load_spec(tmp_path / "nothing.toml")


def test_a_plugin_counts_from_the_folder_of_the_study_file(tmp_path):
    (tmp_path / "parts.py").write_text(
        "from joulelab.learning.networks import networks\n\n\n"
        '@networks.register("spec-test-net")\n'
        "def build(shape, classes):\n"
        '    """Nothing."""\n'
    )
    text = 'plugins = ["parts.py"]\n' + MINIMAL.replace("SimpleCNN", "spec-test-net")
    spec = load_spec(written(tmp_path, text))
    assert spec.plugins == [str(tmp_path / "parts.py")]
    assert load_spec(written(tmp_path, text)) == spec, "the same plug-in loads a second time"


def test_a_missing_plugin_is_named(tmp_path):
    with pytest.raises(PluginError, match=r"nowhere\.py cannot be read"):
        load_spec(written(tmp_path, 'plugins = ["nowhere.py"]\n' + MINIMAL))


def test_a_plugin_that_ends_the_program_is_named(tmp_path):
    (tmp_path / "ends.py").write_text("raise SystemExit(3)\n")
    with pytest.raises(PluginError, match=r"ends\.py cannot be imported: SystemExit: 3"):
        load_spec(written(tmp_path, 'plugins = ["ends.py"]\n' + MINIMAL))


def test_a_plugin_that_raises_is_named_with_its_error(tmp_path):
    (tmp_path / "broken.py").write_text("1 / 0\n")
    with pytest.raises(PluginError, match=r"broken\.py cannot be imported: ZeroDivisionError"):
        load_spec(written(tmp_path, 'plugins = ["broken.py"]\n' + MINIMAL))
