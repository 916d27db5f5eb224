"""Language models by name, in folders, and as factories."""

from dataclasses import asdict

import pytest

from joulelab.errors import UnknownNameError, UsageError
from joulelab.learning.language_models import (
    GPT2,
    LLAMA_1B,
    PRETRAINED_FACTORY,
    RANDOM_FACTORY,
    LanguageModel,
    build_pretrained,
    build_random,
    language_model_source,
    language_models,
)

TINY = (
    LanguageModel("gpt2", 2, 64, 2, 2, 128, 100, 64),
    LanguageModel("llama", 2, 64, 4, 2, 96, 100, 64, tied=False),
    LanguageModel("llama", 1, 64, 4, 4, 96, 100, 64),
)


@pytest.mark.parametrize("sizes", TINY, ids=str)
def test_a_built_model_has_as_many_parameters_as_its_sizes_say(sizes):
    model = build_random(**asdict(sizes))
    assert sum(one.numel() for one in model.parameters()) == sizes.parameters()
    assert model.config.vocab_size == 100


def test_published_sizes_have_the_published_parameters():
    assert GPT2.parameters() == 124_439_808
    assert LLAMA_1B.parameters() == 1_235_814_400


def test_random_weights_are_the_same_each_time():
    one, other = (build_random(**asdict(TINY[0])).state_dict() for _ in range(2))
    assert all((one[name] == other[name]).all() for name in one)


def test_a_cache_holds_keys_and_values_of_each_layer():
    assert TINY[1].cache_values_per_token() == 2 * 2 * 32


def test_every_registered_model_is_found_by_name():
    for name in language_models.names():
        factory, options, weights = language_model_source(name)
        assert factory == RANDOM_FACTORY
        assert options == asdict(language_models.get(name))
        assert weights == "random"


def test_a_folder_is_loaded_as_it_was_saved(tmp_path):
    model = build_random(**asdict(TINY[1]))
    model.save_pretrained(tmp_path / "mine")
    factory, options, weights = language_model_source(str(tmp_path / "mine"))
    assert factory == PRETRAINED_FACTORY
    assert weights == "of mine"
    loaded = build_pretrained(**options).state_dict()
    assert all((loaded[name] == value).all() for name, value in model.state_dict().items())


def test_a_folder_without_a_model_is_refused(tmp_path):
    with pytest.raises(UsageError, match=r"has no config\.json"):
        language_model_source(str(tmp_path))
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(UsageError, match="no causal model that can be loaded"):
        build_pretrained(str(tmp_path))


def test_code_in_a_folder_is_not_run(tmp_path):
    (tmp_path / "config.json").write_text(
        '{"model_type": "mine", "auto_map": {"AutoConfig": "evil.Config", '
        '"AutoModelForCausalLM": "evil.Model"}}'
    )
    (tmp_path / "evil.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    with pytest.raises(UsageError) as refused:
        build_pretrained(str(tmp_path))
    assert "module:attribute" in refused.value.hint
    assert not (tmp_path / "ran").exists()


def test_a_factory_stays_one_and_an_unknown_name_is_refused():
    assert language_model_source("mine:model") == ("mine:model", {}, "as the factory returns them")
    with pytest.raises(UsageError, match="does not name a factory"):
        language_model_source("mine:")
    with pytest.raises(UnknownNameError, match="gpt3-tiny"):
        language_model_source("gpt3-tiny")
