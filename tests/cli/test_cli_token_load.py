"""``joulelab load --api openai`` as its users call it, against scripted servers on loopback."""

import json
import re
import time

import pandas as pd
import pytest
from fake_plug import FakePlug
from loopback_endpoint import saying, silent
from token_endpoint import (
    DONE,
    Script,
    after_probe,
    chat,
    endpoint,
    event,
    prompt_words,
    raw_after_probe,
    refusing,
    tokens,
    usage,
)

from own_certificate import certificate, server_context

RATE = ("--arrivals", "uniform-jitter(200)", "--idle", 0)
QUICK = ("--api", "openai", "--model", "tiny", "--requests", 10, *RATE)
DRAWN = (*QUICK, "--input-tokens", 20, "--output-tokens", 4)


def base(server):
    return f"http://127.0.0.1:{server.port}"


def test_a_load_that_went_well(joulelab, tmp_path):
    path = tmp_path / "requests.csv"
    script = Script(tokens(0.002))
    with endpoint(script) as server:
        limits = ("--p99-first", "5s", "--p99-token", "5s", "--p99", "9s")
        code, out, err = joulelab(
            "load", base(server), *DRAWN, *limits, "--warm-up", 3, "--out", path
        )
    assert code == 0, err
    lines = out.splitlines()
    assert re.match(r"about [0-9.]+ mJ per output token, estimated, could be ", lines[0])
    assert "10 of 10 requests answered" in lines
    assert "per request " in out
    assert "p99 to the first token within 5 s held: 100.0 % of 10 requests in that" in out
    assert "p99 per output token within 5 s held: 100.0 % of 10 requests in that" in out
    assert "tokens     200 in, 40 out; " in out
    assert "model      tiny (chat)" in out
    assert "prompts    random words, fixed(20) tokens; answers: fixed(4) tokens" in out
    load = script.asked[-10:]
    assert len(script.asked) == 2 + 3 + 10, "two of the probe"
    assert {one["max_tokens"] for one in load} == {one["min_tokens"] for one in load} == {4}
    assert all(one["ignore_eos"] and one["stream"] for one in load)
    assert len({str(one["messages"]) for one in script.asked}) == len(script.asked), "all differ"
    frame = pd.read_csv(path)
    assert len(frame) == 10
    assert set(frame["output_tokens"]) == {4}
    assert set(frame["prompt_tokens"]) == {20}
    assert set(frame["counted_by"]) == {"usage"}
    per_token_s = (frame["last_token_s"] - frame["first_token_s"]) / 3
    assert frame["per_output_token_s"].to_numpy() == pytest.approx(per_token_s)
    assert frame["per_output_token_s"].median() > 0, "chunks that wait may be read together"
    # However late they are read: the server waits 2 ms after each of four tokens.
    assert (frame["last_token_s"] - frame["sent_s"] >= 0.006).all()
    assert (frame["ended_s"] - frame["sent_s"] >= 0.008).all()
    assert (frame["to_first_token_s"] < frame["response_s"]).all()


def test_json_has_everything_and_no_key(joulelab, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    script = Script()
    with endpoint(script) as server:
        code, out, err = joulelab("load", base(server), *DRAWN, "--p99-first", "5s", "--json")
    assert code == 0, err
    assert {headers["authorization"] for _, headers in script.heads} == {"bearer sk-secret"}
    assert "sk-secret" not in out + err
    data = json.loads(out)
    assert (data["api"], data["model"], data["endpoint"]) == ("openai", "tiny", "chat")
    counts = data["tokens"]
    assert (counts["prompt_tokens"], counts["output_tokens"], counts["chunks"]) == (200, 40, 40)
    assert counts["counted_by"] == "usage"
    assert counts["output_tokens_per_s"] == pytest.approx(40 / data["duration_s"])
    assert counts["tokens_per_s"] == pytest.approx(240 / data["duration_s"])
    assert 0 < counts["first"]["p50_s"] <= data["response"]["p50_s"]
    assert data["limits"]["first"]["held"] is True
    total_j = data["measurement"]["total"]["gross_j"]
    energy = data["energy_per_token"]
    assert not energy["window"]["steady"], "ten requests are too few"
    per_token = energy["costs"][0]["per"]["output token"]["gross"]
    assert 0 < per_token["value"] <= total_j / 40, "from the first due to the last answer"
    assert data["gross_j_per_request"] == pytest.approx(total_j / 10)
    assert data["details"] == {}


def test_prompts_of_a_file_are_sent_as_they_are(joulelab, tmp_path):
    path = tmp_path / "prompts.jsonl"
    path.write_text('{"prompt": "why", "max_tokens": 2}\n{"messages": [{"role": "user"}]}\n')
    script = Script(after_probe(chat("yes", "stop"), DONE, probes=1))
    with endpoint(script) as server:
        code, _, err = joulelab("load", base(server), *QUICK, "--prompts", path)
    assert code == 0, err
    sent = script.asked[1:]
    assert sum(one["messages"] == [{"role": "user", "content": "why"}] for one in sent) == 5
    assert sum(one["messages"] == [{"role": "user"}] for one in sent) == 5
    assert {one.get("max_tokens") for one in sent} == {2, None}
    assert not any("ignore_eos" in one for one in script.asked), "the model ends its answers"
    assert "2 prompts for 10 requests: prompts are repeated" in err


def test_a_trace_gives_times_and_lengths_together(joulelab, tmp_path):
    trace = tmp_path / "azure.csv"
    rows = ["2023-11-16 18:17:03.90,30,2", "2023-11-16 18:17:04.01,40,3"]
    trace.write_text("TIMESTAMP,ContextTokens,GeneratedTokens\n" + "\n".join(rows))
    script, out_file = Script(), tmp_path / "out.csv"
    load = ("--requests", 2, "--arrivals", f"trace({trace})", "--idle", 0, "--out", out_file)
    with endpoint(script) as server:
        url = f"{base(server)}/v1/completions"
        code, out, err = joulelab("load", url, "--api", "openai", "--model", "tiny", *load)
    assert code == 0, err
    frame = pd.read_csv(out_file)
    assert frame["due_s"].tolist() == pytest.approx([0, 0.11])
    assert frame["prompt_tokens"].tolist() == [30, 40]
    assert frame["output_tokens"].tolist() == [2, 3]
    assert [prompt_words(one) for one in script.asked[-2:]] == [30, 40]
    assert "lengths of the trace" in out


def test_a_server_that_refuses_fields_is_asked_without_them_and_this_is_said(joulelab):
    script = Script(
        tokens(
            counted=False,
            ignore_eos="Unexpected fields: {'ignore_eos', 'min_tokens'}",
            stream_options="what is that?",
            max_tokens="use max_completion_tokens",
        )
    )
    with endpoint(script) as server:
        code, out, err = joulelab("load", base(server), *DRAWN)
    assert code == 0, err
    said = " ".join(out.split())
    assert "the server takes no ignore_eos and min_tokens: an answer may end before" in said
    assert "the server takes no stream_options" in said
    assert "the server takes max_completion_tokens instead of max_tokens" in said
    assert "the server gives no usage: chunks with text are counted as output tokens, and" in said
    assert "output tokens are counted chunks, as the server gave no count of them" in said
    assert "lengths of prompts are in words" in said
    assert "in, 40 out; " in said
    names = {"model", "stream", "messages", "max_completion_tokens"}
    assert all(set(one) == names for one in script.asked[-10:])


@pytest.mark.parametrize(
    ("counts", "remark", "told"),
    [
        (
            {"prompt_tokens": 20},
            "the server counts no output tokens: chunks with text are counted as output tokens",
            "200 in, 10 out",
        ),
        (
            {"completion_tokens": 3},
            "the server counts no prompt tokens: they are unknown",
            "unknown in, 30 out",
        ),
    ],
)
def test_only_what_the_server_does_not_count_is_said_to_be_unknown(joulelab, counts, remark, told):
    last = event({"choices": [], "usage": counts})
    with endpoint(Script(after_probe(chat("a", "stop"), last, DONE, probes=0))) as server:
        code, out, err = joulelab("load", base(server), *QUICK, "--input-tokens", 20)
    assert code == 0, err
    said = " ".join(out.split())
    assert remark in said
    assert told in said
    assert "no usage" not in said
    assert "prompt tokens are unknown" not in said


def test_usage_that_disagrees_with_the_chunks_is_counted_and_said(joulelab):
    script = Script(after_probe(chat("a b "), chat("c", "stop"), usage(9, 5), DONE))
    with endpoint(script) as server:
        code, out, _ = joulelab("load", base(server), *QUICK, "--input-tokens", 20)
    assert code == 0
    said = " ".join(out.split())
    assert "usage and the number of chunks differ in 10 answers (50 tokens, 20 chunks" in said
    assert "tokens 90 in, 50 out" in said


def test_an_answer_that_is_shorter_than_asked_is_said(joulelab):
    script = Script(after_probe(chat("a"), chat("b", "stop"), usage(20, 2), DONE))
    with endpoint(script) as server:
        code, out, _ = joulelab("load", base(server), *DRAWN)
    assert code == 0
    assert "10 answers ended before the number of tokens asked for" in " ".join(out.split())


def test_an_answer_in_one_piece_has_no_first_token(joulelab):
    body = {"choices": [{"message": {"content": "a b"}}], "usage": {"completion_tokens": 2}}
    whole = b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: %d\r\n\r\n%s"
    text = json.dumps(body).encode()
    with endpoint(Script(raw_after_probe(whole % (len(text), text)))) as server:
        load = ("load", base(server), *QUICK, "--input-tokens", 9)
        code, out, _ = joulelab(*load, "--p99-first", "5s", "--json")
    assert code == 4, "a limit on a time that is unknown is not kept"
    data = json.loads(out)
    said = "10 answers came in one piece: time to the first token unknown"
    assert said in data["sentences"]
    assert (data["tokens"]["prompt_tokens"], data["tokens"]["output_tokens"]) == (None, 20)
    for name in ("first", "per_token", "gaps"):
        assert data["tokens"][name]["p50_s"] is None


@pytest.mark.parametrize(
    ("reply", "said"),
    [
        (
            after_probe(chat("a"), chat("b"), close=True),
            "the stream stopped before its end: 10",
        ),
        (after_probe(chat("a"), chat("b")), "the stream stopped before its end: 10"),
        (
            after_probe(chat("a"), event({"error": {"message": "out of memory"}})),
            "the server reported an error in mid-stream: 10; the first said: out of memory",
        ),
        (after_probe(b"data: {oh\n\n"), "a chunk of the stream is not a JSON object: 10"),
        (
            raw_after_probe(refusing("429 Slow", "too fast", "retry-after: 2\r\n")),
            "HTTP 429: 10; the first said: Retry-After: 2; too fast",
        ),
        (
            raw_after_probe(refusing("400 Bad", "the context is 4096 tokens")),
            "HTTP 400: 10; the first said: the context is 4096 tokens",
        ),
        (
            raw_after_probe(refusing("302 Found", headers="location: http://127.0.0.1:1/\r\n")),
            "HTTP 302, a redirect, not followed: 10 the first redirect led to http://127.0.0.1:1/",
        ),
        (raw_after_probe(b"\x00\x01\x02\x03\x04"), "not an HTTP answer: 10"),
    ],
)
def test_a_failure_is_counted_by_its_reason(joulelab, reply, said):
    with endpoint(Script(reply)) as server:
        code, out, _ = joulelab("load", base(server), *DRAWN, "--timeout", "20s")
    assert code == 1
    assert said in " ".join(out.split())


def test_a_server_that_falls_silent_in_mid_stream_has_failed_after_the_silence(joulelab):
    """It streams a chunk, and nothing more for as long as anyone waits."""
    script = Script(after_probe(chat("a"), chat("b"), wait_s=60))
    with endpoint(script) as server:
        code, out, _ = joulelab("load", base(server), *DRAWN, "--silence", "300ms")
    assert code == 1
    assert "timed out: nothing for 0.3 s: 10" in out


def test_a_slow_stream_is_not_silent(joulelab):
    with endpoint(Script(tokens(0.1))) as server:
        load = ("--api", "openai", "--model", "tiny", "--requests", 1, *RATE)
        code, out, err = joulelab(
            "load",
            base(server),
            *load,
            "--input-tokens",
            5,
            "--output-tokens",
            6,
            "--silence",
            "2s",
        )
    assert code == 0, out + err


@pytest.mark.parametrize(
    ("script", "message", "hint"),
    [
        (silent, "timed out", "curl"),
        (saying(b"220 mail ready\r\n"), "not an HTTP answer", "curl"),
        (
            Script(raw_after_probe(refusing("404 No", "no such model"), 0), ("big", "small")),
            "has no such model: it serves big, small, not 'tiny'",
            "--model big",
        ),
        (
            Script(raw_after_probe(refusing("404 No", "no such model"), 0), ()),
            "HTTP 404: no such model",
            "--model",
        ),
        (
            Script(raw_after_probe(refusing("401 Who", "wrong key sk-secret"), 0), ()),
            "HTTP 401: wrong key ***",
            "OPENAI_API_KEY",
        ),
        (
            Script(raw_after_probe(refusing("429 Slow", "", "retry-after: 9\r\n"), 0)),
            "HTTP 429: Retry-After: 9",
            "curl",
        ),
        (
            Script(raw_after_probe(refusing("302 Found", headers="location: http://x/\r\n"), 0)),
            "HTTP 302, a redirect, not followed",
            "curl",
        ),
        (
            Script(after_probe(event({"hello": 1}), probes=0)),
            "no chunk in the stream: this is not the OpenAI protocol",
            "curl",
        ),
    ],
)
def test_a_server_that_refuses_the_probe_ends_the_command(
    joulelab, monkeypatch, script, message, hint
):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
    with endpoint(script) as server:
        code, out, err = joulelab("load", base(server), *DRAWN, "--timeout", "1s")
        assert len(getattr(script, "asked", [])) <= 3
    assert (code, out) == (1, "")
    assert message in err
    assert hint in err
    assert "sk-secret" not in err


def test_a_server_that_is_not_there(joulelab):
    with endpoint(silent) as server:
        url = base(server)
    code, _, err = joulelab("load", url, *DRAWN)
    assert code == 1
    assert "connection refused" in err


def test_a_model_that_answers_but_is_not_listed_is_said(joulelab):
    with endpoint(Script(models=("other",))) as server:
        code, out, _ = joulelab("load", base(server), *DRAWN)
    assert code == 0
    assert "does not list this model: it lists other" in " ".join(out.split())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--api", "openai"), "--api openai needs the name of the model"),
        (("--model", "tiny"), "--model is for language models"),
        (("--p99-token", "1s"), "--p99-token is for language models"),
        (("--api", "openai", "--model", "m"), "nothing says which prompts to send"),
        ((*QUICK[:4], "--input-tokens", "9", "--field", "f"), "--field is for other servers"),
        ((*QUICK[:4], "--input-tokens", "9", "--method", "GET"), "--method GET is for other"),
        ((*QUICK[:4], "--input-tokens", "9", "--expect", "json"), "--expect json is for other"),
        ((*QUICK[:4], "--input-tokens", "none(1)"), "unknown length 'none'"),
        ((*QUICK[:4], "--input-tokens", "9", "--prompts", "PROMPTS"), "exclude each other"),
        ((*QUICK[:4], "--prompts", "PROMPTS"), "line 2: not JSON"),
        ((*QUICK[:4], "--prompts", "absent.jsonl"), "absent.jsonl does not exist"),
        ((*QUICK[:4], "--input-tokens", "9", "--key-env", "NO_KEY"), "NO_KEY: this environment"),
        ((*QUICK[:4], "--input-tokens", "9", "--tokenizer", "absent"), "absent does not exist"),
        ((*QUICK[:4], "--input-tokens", "9", "--silence", "0s"), "--silence '0s' is not a time"),
    ],
)
def test_an_impossible_request_is_refused_before_anything_is_sent(
    joulelab, tmp_path, options, message
):
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text('{"prompt": "a"}\n{oh\n')
    options = [str(prompts) if one == "PROMPTS" else one for one in options]
    with endpoint(Script()) as server:
        code, out, err = joulelab("load", base(server), "--requests", 3, *RATE, *options)
        assert server.requests == []
    assert (code, out) == (2, "")
    assert message in err


class Exporter(FakePlug):
    """The page of an exporter of DCGM whose only GPU draws 50 W."""

    power_w = 50.0

    def __init__(self, tls=None):
        self.tls = tls
        self.start_s = time.monotonic()
        super().__init__(self.power_w)

    def reply(self, path, query, headers):
        name = "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION"
        mj = 1e3 * (5000 + self.power_w * (time.monotonic() - self.start_s))
        return 200, f'# TYPE {name} counter\n{name}{{gpu="0",UUID="GPU-a"}} {mj:.0f}\n', {}


def test_the_joules_of_a_server_are_those_of_its_page(joulelab):
    steady = ("--arrivals", "uniform-jitter(60)", "--idle", 0, "--requests", 400)
    with endpoint(Script(tokens(0.002))) as server, Exporter() as page:
        url = f"http://{page.address}/metrics?update_s=0.02&poll_s=0.05"
        code, out, err = joulelab(
            "load", base(server), *DRAWN, *steady, "--energy-url", url, "--json"
        )
    assert code == 0, err
    found = json.loads(out)
    energy, (only,) = found["energy_per_token"], found["energy_per_token"]["costs"][:1]
    assert energy["window"]["steady"], energy["window"]
    assert only["domains"] == ["gpu:0"]
    assert only["status"] == "measured"
    # By hand: 50 W for as long as the window, by the four tokens of each of 60 requests a second.
    per_token = only["per"]["output token"]
    window_s = energy["window"]["end_s"] - energy["window"]["start_s"]
    truth_j = Exporter.power_w * window_s / energy["output_tokens"]
    assert per_token["gross"]["value"] == pytest.approx(truth_j, rel=0.1)
    assert abs(per_token["gross"]["value"] - truth_j) <= per_token["bound_j"]
    assert found["measurement"]["label"] == url


def test_prompts_shorter_than_the_template_are_told_with_both_means(joulelab):
    lengths = ("--input-tokens", 2, "--output-tokens", 2)
    with endpoint(Script(tokens(0.0))) as server:
        code, out, err = joulelab("load", base(server), *QUICK, *lengths)
    assert code == 0, err
    # Three tokens of the template, and a word.
    assert "prompts had 4.0 tokens in the mean, not 2.0 as asked" in " ".join(out.split())


def test_server_and_page_may_speak_https(joulelab, tmp_path, monkeypatch):
    path = certificate(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(path))
    tls = server_context(path)
    with endpoint(Script(tokens(0.0)), tls) as server, Exporter(tls) as page:
        url = f"https://localhost:{page.port}/metrics?update_s=0.02&poll_s=0.05"
        code, out, err = joulelab(
            "load", f"https://localhost:{server.port}", *DRAWN, "--energy-url", url, "--json"
        )
    assert code == 0, err
    assert json.loads(out)["energy_per_token"]["costs"][0]["domains"] == ["gpu:0"]


def test_the_energy_of_a_server_elsewhere_is_unknown(joulelab, monkeypatch):
    monkeypatch.setattr("joulelab.cli.token_loading.is_this_machine", lambda _: False)
    with endpoint(Script(tokens(0.0))) as server:
        code, out, err = joulelab("load", base(server), *DRAWN)
    assert code == 0, err
    assert out.startswith(
        "energy per output token unknown: the server is another machine; --energy"
    )
    assert "does not include a" in out


def test_a_counter_without_its_page_is_refused(joulelab):
    code, _, err = joulelab("load", "http://127.0.0.1:9", *DRAWN, "--energy-metric", "joules_total")
    assert code == 2
    assert "add --energy-url URL" in err
