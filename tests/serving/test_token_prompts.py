"""Prompts, lengths, and texts of a given length."""

import gzip

import numpy as np
import pytest
from tokenizers import Tokenizer, models, pre_tokenizers

from joulelab.errors import UnknownNameError, UsageError
from joulelab.serving.tokens.endpoint import Endpoint, Fields, TokenEndpoint, key_from
from joulelab.serving.tokens.lengths import parse_lengths
from joulelab.serving.tokens.prompts import Prompt, TraceLengths, in_turn, read_prompts, repeats
from joulelab.serving.tokens.texts import (
    WORDS,
    ExactWriter,
    WordWriter,
    load_tokenizer,
    words,
)
from joulelab.serving.trace import Trace

RNG = np.random.default_rng


def file_of(folder, *lines):
    path = folder / "prompts.jsonl"
    path.write_text("\n".join(lines))
    return path


def test_prompts_are_read_from_lines_of_json(tmp_path):
    messages = '{"messages": [{"role": "user", "content": "Why?"}]}'
    path = file_of(tmp_path, '{"prompt": "a", "max_tokens": 7}', "", messages)
    prompts = read_prompts(path, chat=True)
    assert prompts == [Prompt("a", 7), Prompt([{"role": "user", "content": "Why?"}])]
    packed = tmp_path / "prompts.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    assert read_prompts(packed, chat=True) == prompts


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("{oh", "not JSON"),
        ("[1]", "not an object"),
        ('{"text": "a"}', "needs either prompt or messages"),
        ('{"prompt": "a", "messages": []}', "needs either prompt or messages"),
        ('{"prompt": ""}', "not empty"),
        ('{"prompt": ["a"]}', "must be a text"),
        ('{"messages": []}', "messages must be a list"),
        ('{"messages": ["a"]}', "messages must be a list"),
        ('{"messages": [{"role": "user", "content": "a", "x": NaN}]}', "not JSON: NaN"),
        ('{"prompt": "a", "max_tokens": 0}', "max_tokens must be"),
        ('{"prompt": "a", "max_tokens": true}', "max_tokens must be"),
    ],
)
def test_a_broken_line_is_named(tmp_path, line, why):
    path = file_of(tmp_path, '{"prompt": "a"}', line)
    with pytest.raises(UsageError, match="line 2") as raised:
        read_prompts(path, chat=True)
    assert str(path) in raised.value.message
    assert why in raised.value.message


def test_messages_need_the_chat_endpoint(tmp_path):
    path = file_of(tmp_path, '{"messages": [{"role": "user", "content": "a"}]}')
    with pytest.raises(UsageError, match="line 1: messages need the chat endpoint"):
        read_prompts(path, chat=False)


def test_a_file_without_prompts_is_refused(tmp_path):
    with pytest.raises(UsageError, match="is empty") as raised:
        read_prompts(file_of(tmp_path, " ", ""), chat=True)
    assert '"prompt"' in raised.value.hint
    with pytest.raises(UsageError, match="has no prompt"):
        read_prompts(file_of(tmp_path, "\ufeff", ""), chat=True)


def test_prompts_in_another_encoding_are_refused(tmp_path):
    path = tmp_path / "prompts.jsonl"
    path.write_bytes('{"prompt": "Café"}\n'.encode("latin-1"))
    with pytest.raises(UsageError, match="not UTF-8"):
        read_prompts(path, chat=True)
    path.write_text('{"prompt": "Café"}\n', encoding="utf-16")
    assert read_prompts(path, chat=True) == [Prompt("Café")]


def test_prompts_of_a_file_are_sent_equally_often():
    which = in_turn(10, 4, RNG(0))
    assert set(which[:4]) == set(which[4:8]) == {0, 1, 2, 3}
    assert len(set(which[8:])) == 2
    assert len(in_turn(0, 4, RNG(0))) == 0
    assert "4 prompts for 10 requests" in repeats([Prompt("a")] * 4, 10)
    assert repeats([Prompt("a")] * 4, 4) == ""


def test_lengths_have_the_distribution_that_they_name():
    assert set(parse_lengths("128").draw(5, RNG(0))) == {128}
    uniform = parse_lengths("uniform(3, 5)").draw(1000, RNG(0))
    assert set(uniform) == {3, 4, 5}
    drawn = parse_lengths("lognormal(200, 0.5)").draw(20_000, RNG(0))
    assert np.median(drawn) == pytest.approx(200, rel=0.02)
    assert drawn.mean() == pytest.approx(200 * np.exp(0.125), rel=0.02)
    assert parse_lengths("lognormal(2, 3, most=50)").draw(1000, RNG(0)).max() == 50
    assert parse_lengths("lognormal(2, 3)").draw(1000, RNG(0)).min() == 1
    for text in ("fixed(128)", "uniform(3, 5)", "lognormal(200, 0.5, most=2000)"):
        assert str(parse_lengths(text)) == text


@pytest.mark.parametrize(
    "text", ["0", "fixed(-1)", "uniform(5, 3)", "lognormal(0, 1)", "lognormal(9, -1)", "128.5", ""]
)
def test_impossible_lengths_are_refused(text):
    with pytest.raises(UsageError):
        parse_lengths(text)


def test_an_unknown_distribution_is_named():
    with pytest.raises(UnknownNameError, match="normal"):
        parse_lengths("normal(200, 5)")


AZURE = """TIMESTAMP,ContextTokens,GeneratedTokens
2023-11-16 18:17:03.9799600,4808,10
2023-11-16 18:17:04.1319600,110,27
2023-11-16 18:17:04.0319600,3180,8
"""
BURST = """Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type
5,ChatGPT,472,18,490,Conversation log
45,ChatGPT,1087,0,1087,Conversation log
118,GPT-4,417,276,693,API log
"""


def test_the_traces_of_azure_and_burstgpt_keep_their_pairs(tmp_path):
    path = tmp_path / "azure.csv"
    path.write_text(AZURE)
    trace = Trace(str(path))
    assert trace.times_s(3, RNG(0)) == pytest.approx([0, 0.052, 0.152])
    lengths = TraceLengths.of(trace, 3)
    assert lengths.input_tokens.tolist() == [4808, 3180, 110], "in the order of arrival"
    assert lengths.output_tokens.tolist() == [10, 8, 27]
    path.write_text(BURST)
    lengths = TraceLengths.of(Trace(str(path)), 2)
    assert lengths.input_tokens.tolist() == [472, 1087]
    assert lengths.output_tokens.tolist() == [18, 1]
    assert lengths.remarks == ("1 answer of 0 tokens in the trace: counted as 1 token",)


def test_a_trace_without_tokens_has_no_lengths_and_a_broken_one_names_its_line(tmp_path):
    path = tmp_path / "times.csv"
    path.write_text("t_s\n0\n1\n")
    assert TraceLengths.of(Trace(str(path)), 2) is None
    path.write_text("t_s,input_tokens,output_tokens\n0,5,5\n1,,5\n")
    with pytest.raises(UsageError, match="line 3, column input_tokens: a number of tokens"):
        TraceLengths.of(Trace(str(path)), 2)
    path.write_text("t_s,input_tokens,output_tokens\n0,5,5\n1,2.5,5\n")
    with pytest.raises(UsageError, match="line 3"):
        TraceLengths.of(Trace(str(path)), 2)


def test_words_have_four_letters_and_prompts_differ():
    assert {len(word) for word in WORDS} == {4}
    assert len(set(WORDS)) == len(WORDS) > 100
    rng = RNG(0)
    assert len({words(8, rng) for _ in range(1000)}) == 1000
    assert words(8, RNG(1)) == words(8, RNG(1))


def test_a_writer_knows_words_and_template_from_two_prompts():
    # A tokenizer of bytes: four letters and a blank, and a template of 18.
    writer = WordWriter.between((4, 18 + 20 - 1), (44, 18 + 220 - 1))
    assert (writer.overhead, writer.per_word) == (17, 5)
    assert len(writer.text(117, RNG(0)).split()) == 20
    assert len(writer.text(1, RNG(0)).split()) == 1
    assert WordWriter.between((4, 9), (44, 9)) == WordWriter(), "a server that does not count"


def letters(folder):
    """The folder of a tokenizer that splits every word in two."""
    halves = sorted({half for word in WORDS for half in (word[:2], "##" + word[2:])})
    vocabulary = {token: number for number, token in enumerate([*halves, "a", ".", "[UNK]"])}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    folder.mkdir()
    tokenizer.save(str(folder / "tokenizer.json"))
    return folder


def test_a_tokenizer_makes_lengths_exact(tmp_path):
    writer = ExactWriter(load_tokenizer(letters(tmp_path / "model")))
    for tokens in (1, 2, 3, 50, 51, 1000, 1001):
        text = writer.text(tokens, RNG(tokens))
        # A word has two tokens: one alone is the nearest to a length of 1.
        assert writer.count(text) == max(2, tokens)
    assert writer.with_overhead(7).text(57, RNG(0)) == writer.text(50, RNG(0))


def test_a_folder_without_a_tokenizer_or_with_a_damaged_one_is_refused(tmp_path):
    with pytest.raises(UsageError, match=r"tokenizer\.json does not exist"):
        load_tokenizer(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{}")
    with pytest.raises(UsageError, match="is not a tokenizer"):
        load_tokenizer(tmp_path)


@pytest.mark.parametrize(
    ("url", "kind", "path", "models", "found"),
    [
        ("http://a", None, "/v1/chat/completions", "/v1/models", "chat"),
        ("http://a:1/", "completions", "/v1/completions", "/v1/models", "completions"),
        ("http://a/v1", None, "/v1/chat/completions", "/v1/models", "chat"),
        ("http://a/api/v1/", None, "/api/v1/chat/completions", "/api/v1/models", "chat"),
        ("http://a/v1/completions", None, "/v1/completions", "/v1/models", "completions"),
        ("http://a/v1/chat/completions", None, "/v1/chat/completions", "/v1/models", "chat"),
        ("http://a/x?v=2", None, "/x/v1/chat/completions?v=2", "/x/v1/models?v=2", "chat"),
    ],
)
def test_the_url_is_a_server_or_an_endpoint(url, kind, path, models, found):
    endpoint = TokenEndpoint.parse(url, "m", kind and Endpoint(kind))
    assert (endpoint.target.path, endpoint.models, endpoint.kind) == (path, models, found)


def test_the_endpoint_of_the_other_kind_is_refused():
    with pytest.raises(UsageError, match="is the endpoint for chat, not for completions"):
        TokenEndpoint.parse("http://a/v1/chat/completions", "m", Endpoint.COMPLETIONS)


def test_fields_that_are_named_go_first_then_those_for_lengths():
    every = Fields()
    assert every.without("Unexpected: {'min_tokens'}").optional == {"ignore_eos", "stream_options"}
    assert every.without("use max_completion_tokens").limit == "max_completion_tokens"
    fewer = every.without("bad request")
    assert fewer.optional == {"stream_options"}
    assert fewer.without("bad request").optional == set()
    assert fewer.without("bad request").without("bad request") is None


def test_the_key_comes_from_the_environment_and_is_not_shown(monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    key = key_from("OPENAI_API_KEY")
    endpoint = TokenEndpoint.parse("http://a", "m", key=key)
    assert "sk-secret" not in repr(endpoint)
    assert (b"authorization", b"Bearer sk-secret") in endpoint.request(Prompt("a")).head.headers
    monkeypatch.delenv("OPENAI_API_KEY")
    assert key_from("OPENAI_API_KEY") == ""
    with pytest.raises(UsageError, match="MY_KEY: this environment variable is not set"):
        key_from("MY_KEY")
    monkeypatch.setenv("MY_KEY", "sk-secret\nx: y")
    with pytest.raises(UsageError, match="characters that no key has") as raised:
        key_from("MY_KEY")
    assert "sk-secret" not in str(raised.value)
