"""Prefills, steps and parts of a causal model."""

from dataclasses import asdict
from pathlib import Path

import pytest
import torch

from joulelab.errors import ServingError, UsageError
from joulelab.learning.language_models import RANDOM_FACTORY, LanguageModel
from joulelab.serving.generation.generator import GenerationWindow, Generator, missing_precision
from joulelab.serving.generation.tasks import (
    DECODE,
    GENERATION,
    PREFILL,
    GenerationTask,
    Part,
)
from joulelab.serving.session import ServingSession
from joulelab.serving.tasks import ModelSource

HERE = str(Path(__file__).parent)
CPU = torch.device("cpu")
TINY = {
    "gpt2": LanguageModel("gpt2", 2, 64, 2, 2, 128, 100, 64),
    "llama": LanguageModel("llama", 2, 64, 4, 2, 128, 100, 64, tied=False),
}


def own(name="causal", **options):
    return ModelSource(f"causal_models:{name}", options, (HERE,))


TWICE = Part(GENERATION, 0.0, 2)


def task(source, parts=(TWICE,), **changes):
    given = {"batch_size": 3, "prompt_tokens": 5, "output_tokens": 4, "warm_up": 0, "seed": 2}
    return GenerationTask(source, "float32", parts=tuple(parts), **{**given, **changes})


def window(source, **changes):
    one = Generator(source, "float32", CPU)
    made = GenerationWindow(one, task(source, **changes), CPU)
    made.prepare()
    return one, made


@pytest.mark.parametrize("architecture", TINY)
def test_steps_with_a_cache_give_the_tokens_that_the_whole_text_gives(architecture):
    source = ModelSource(RANDOM_FACTORY, asdict(TINY[architecture]))
    one = Generator(source, "float32", CPU)
    text = one.prompts(2, 6, seed=1)
    token, cache = one.prefill(text)
    for _ in range(4):
        text = torch.cat([text, token], dim=1)
        token, cache = one.step(token, cache)
        whole, _ = one.prefill(text)
        assert token.tolist() == whole.tolist()


def test_a_generation_is_one_prefill_and_a_step_for_each_further_token():
    one, made = window(own())
    shown = []
    generated = made.run(shown.append)
    assert one._model.seen == 2 * [(0, (3, 5)), (5, (3, 1)), (6, (3, 1)), (7, (3, 1))]
    part = generated.part(GENERATION)
    assert part.times == 2
    assert part.prefill_s.shape == (2,)
    assert part.step_s.shape == (2, 3)
    assert part.prefill_s.sum() + part.step_s.sum() <= part.duration_s
    assert shown == [1, 2]
    assert generated.parameters == 3


@pytest.mark.parametrize("architecture", TINY)
def test_steps_alone_begin_with_the_cache_of_the_prompt_each_time(architecture):
    source = ModelSource(RANDOM_FACTORY, asdict(TINY[architecture]))
    one, made = window(source, parts=[Part(DECODE, 0.0, 3)])
    lengths, tokens = [], []

    def step(token, cache, inner=one.step):
        lengths.append(cache.get_seq_length())
        found = inner(token, cache)
        tokens.append(found[0].tolist())
        return found

    one.step = step
    made.run(lambda _: None)
    assert lengths == 3 * [5, 6, 7]
    assert tokens[:3] == tokens[3:6] == tokens[6:]


def test_a_cache_that_cannot_be_cut_back_is_copied():
    one, made = window(own(), parts=[Part(DECODE, 0.0, 2)])
    made.run(lambda _: None)
    assert [before for before, _ in one._model.seen] == [0, 5, 6, 7, 5, 6, 7]


def test_a_part_lasts_as_long_as_is_asked_for():
    _, made = window(own(), parts=[Part(PREFILL, 0.05, 1), Part(GENERATION, 0.0, 1)])
    generated = made.run(lambda _: None)
    assert generated.part(PREFILL).duration_s >= 0.05
    assert generated.part(PREFILL).step_s.shape == (0, 3)
    assert generated.part(PREFILL).ended_s <= generated.part(GENERATION).began_s


def test_the_memory_of_the_run_is_what_it_needed_most():
    _, made = window(own())
    peak = made.run(lambda _: None).peak_bytes
    assert peak is None or peak > 1e7


@pytest.mark.parametrize(
    ("name", "changes", "words"),
    [
        ("images_only", {}, "has no causal interface: forward(input)"),
        ("forgetful", {"parts": [Part(DECODE, 0.0, 1)]}, "returns no cache"),
        ("causal", {"output_tokens": 1}, "output_tokens = 1 is impossible"),
        ("causal", {"batch_size": 0}, "batch_size = 0 is impossible"),
        ("causal", {"parts": []}, "without parts"),
    ],
)
def test_what_cannot_be_generated_is_refused(name, changes, words):
    def all_steps():
        task(own(name), **changes).check()
        window(own(name), **changes)

    with pytest.raises(UsageError) as refused:
        all_steps()
    assert words in refused.value.message


def test_too_long_a_text_is_refused():
    one = Generator(own(), "float32", CPU)
    one.check(task(own(), prompt_tokens=61))
    with pytest.raises(UsageError, match=r"62 \+ 4 tokens are too long for the context .*, 64"):
        one.check(task(own(), prompt_tokens=62))


def test_a_batch_that_does_not_fit_in_memory_is_said_to():
    one = Generator(own("cramped"), "float32", CPU)
    with pytest.raises(ServingError, match="3 sequences of 5 tokens do not fit in the memory"):
        one.prefill(one.prompts(3, 5, 0))


def test_a_missing_operator_is_named_with_its_precision():
    one = Generator(own("no_half"), "float16", CPU)
    with pytest.raises(ServingError, match=r"failed in float16 .*not implemented for 'Half'"):
        one.prefill(one.prompts(1, 5, 0))
    assert not missing_precision("float32", CPU)


def test_a_session_generates_in_its_server():
    with ServingSession() as session:
        one = task(own(), parts=[Part(PREFILL, 0.0, 2), Part(GENERATION, 0.0, 2)])
        loaded = session.load(one)
        shown = []
        generated = session.generate(one, lambda done, of: shown.append((done, of)))
        again = session.load(task(own(), batch_size=2))
    assert loaded.parameters == 3
    assert not loaded.kept
    assert again.kept
    assert [part.name for part in generated.parts] == [PREFILL, GENERATION]
    assert shown[-1][0] == 4
