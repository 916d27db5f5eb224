"""``joulelab load --api openai`` on real servers: our example, and that of transformers."""

import importlib.util
import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

EXAMPLE = Path(__file__).parent.parent.parent / "examples" / "llm"
LOAD = ("--api", "openai", "--arrivals", "uniform-jitter(10)", "--idle", 0, "--json")
LONGEST_START_S = 120
SERVING = all(map(importlib.util.find_spec, ("openai", "fastapi")))


@contextmanager
def running(folder, *command):
    """A server in a process of its own; gives its URL once it lists its models."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    offline = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_VERBOSITY": "error"}
    with (
        (folder / "server.log").open("wb") as log,
        subprocess.Popen(
            [*map(str, command), "--port", str(port)],
            env=os.environ | offline,
            stdout=log,
            stderr=subprocess.STDOUT,
        ) as server,
    ):
        try:
            deadline_s = time.monotonic() + LONGEST_START_S
            while not listed(url):
                said = (folder / "server.log").read_text()[-2000:]
                assert server.poll() is None, said
                assert time.monotonic() < deadline_s, said
                time.sleep(0.05)
            yield url
        finally:
            server.terminate()


def listed(url):
    try:
        with urllib.request.urlopen(f"{url}/v1/models", timeout=5) as models:
            return json.load(models)["data"]
    except OSError:
        return []


def ask(url, **asked):
    """One request that is not streamed."""
    body = json.dumps(asked).encode()
    request = urllib.request.Request(url, body, {"content-type": "application/json"})
    with urllib.request.urlopen(request) as answer:
        return json.load(answer)


@pytest.fixture(scope="module")
def example(tmp_path_factory):
    """The example server with a model of the Llama kind; at most 3 sequences in a batch."""
    folder = tmp_path_factory.mktemp("example")
    command = (sys.executable, EXAMPLE / "server.py", "--model", "llama", "--most", 3)
    with running(folder, *command, "--capacity", 100) as url:
        yield url


@pytest.mark.parametrize("kind", ["chat", "completions"])
def test_the_example_server_gives_every_token_that_was_asked_for(joulelab, example, kind):
    load = ("--model", "llama", "--endpoint", kind, "--requests", 12)
    lengths = ("--input-tokens", "uniform(100, 200)", "--output-tokens", "uniform(2, 9)")
    code, out, err = joulelab("load", example, *LOAD, *load, *lengths)
    assert code == 0, out + err
    data = json.loads(out)
    counts = data["tokens"]
    assert (data["answered"], counts["shorter"], counts["not_streamed"]) == (12, 0, 0)
    assert counts["counted_by"] == "usage"
    assert counts["output_tokens"] == counts["chunks"]
    assert not any("takes no" in said for said in data["sentences"])
    # A word of four letters and a blank has five tokens of a byte each.
    assert counts["prompt_tokens"] == pytest.approx(12 * 150, abs=12 * 50)


def test_what_is_generated_in_a_batch_is_what_is_generated_alone(example):
    prompts = ["hi there", "a much longer prompt than the first one", "third", "last of all", "x"]
    asked = {"model": "llama", "max_tokens": 20, "ignore_eos": True}

    def answer(number):
        return ask(
            f"{example}/v1/completions",
            **asked | {"prompt": prompts[number], "max_tokens": 20 + 3 * number},
        )

    alone = [answer(number) for number in range(len(prompts))]
    with ThreadPoolExecutor(len(prompts)) as pool:
        together = list(pool.map(answer, range(len(prompts))))
    texts = [one["choices"][0]["text"] for one in alone]
    assert [one["choices"][0]["text"] for one in together] == texts
    assert len(set(texts)) == len(texts)
    assert [one["usage"]["completion_tokens"] for one in together] == [20, 23, 26, 29, 32]


def test_the_example_server_refuses_what_it_cannot_do(joulelab, example):
    code, _, err = joulelab(
        "load", example, *LOAD, "--model", "gpt5", "--requests", 1, "--input-tokens", 9
    )
    assert code == 1
    assert "has no such model: it serves llama, not 'gpt5'" in err
    load = ("--model", "llama", "--requests", 3, "--input-tokens", 50, "--output-tokens", 2000)
    code, out, _ = joulelab("load", example, *LOAD, *load)
    assert code == 1
    data = json.loads(out)
    assert data["reasons"] == {"HTTP 400": 3}
    assert "exceed the context of 1024" in data["details"]["HTTP 400"]


@pytest.mark.long
@pytest.mark.skipif(not SERVING, reason='needs "transformers[serving]"')
def test_the_server_of_transformers(joulelab, tmp_path):
    """A server that others wrote: no [DONE], usage unasked, and unknown fields refused."""
    model = tmp_path / "tiny"
    subprocess.run([sys.executable, EXAMPLE / "tiny.py", "gpt2", model], check=True)
    main = "import sys; from transformers.cli.transformers import main; sys.exit(main())"
    command = (sys.executable, "-c", main, "serve", model, "--device", "cpu")
    with running(tmp_path, *command) as url:
        load = ("--model", model, "--requests", 6, "--output-tokens", 5)
        drawn = (*load, "--input-tokens", 120)
        code, out, err = joulelab("load", url, *LOAD, *drawn, "--endpoint", "completions")
        assert code == 0, out + err
        data = json.loads(out)
        assert data["answered"] == 6
        assert data["tokens"]["counted_by"] == "usage"
        # The tokenizer is that of bytes: words of 5, so within 2.5 of what was asked for.
        assert data["tokens"]["prompt_tokens"] == pytest.approx(6 * 120, abs=6 * 2.5)
        assert any("takes no ignore_eos and min_tokens" in said for said in data["sentences"])
        exact = ("--tokenizer", model, "--endpoint", "chat")
        code, out, err = joulelab("load", url, *LOAD, *drawn, *exact)
        assert code == 0, out + err
        assert json.loads(out)["tokens"]["prompt_tokens"] == 6 * 120
        code, _, err = joulelab("load", url, *LOAD, "--model", "other", *drawn[2:])
        assert code == 1
        assert f"it serves {model}, not 'other'" in err
