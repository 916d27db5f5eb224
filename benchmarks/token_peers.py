"""joulelab load and guidellm on the same server with the same prompts, in turn.

    python benchmarks/token_peers.py --guidellm VENV/bin/guidellm --tokenizer FOLDER [URL MODEL]

Without a URL the server is `streaming_server`, which waits instead of computing and so knows the
truth. guidellm needs an environment of its own, and the folder of a tokenizer to start with.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from figures import machine, spread, table, versions
from streaming import truth, waiting_server
from streaming_server import MODEL

from joulelab.serving.tokens.texts import words

NAMES = {
    "first": "time to the first token, p50, ms",
    "per_token": "time per output token, p50, ms",
    "throughput": "output tokens per second",
    "prompt": "prompt tokens",
    "output": "output tokens",
}
Figures = dict[str, float]


def main() -> None:
    """Run both in turn and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--guidellm", required=True, help="its command")
    parser.add_argument("--tokenizer", required=True, help="a folder, for guidellm")
    parser.add_argument("server", nargs="*", default=[], help="URL and model of another server")
    parser.add_argument("--rate", type=float, default=20.0)
    parser.add_argument("--requests", type=int, default=300)
    parser.add_argument("--words", type=int, default=40, help="of a prompt")
    parser.add_argument("--tokens", type=int, default=32, help="of an answer")
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    version = subprocess.check_output([args.guidellm, "--version"], text=True)
    print(f"{machine()}; {versions()}, {version.strip()}\n")
    found: dict[str, list[Figures]] = {"joulelab": [], "guidellm": [], "server, truth": []}
    own = not args.server
    with (
        TemporaryDirectory(prefix="joulelab-benchmark-") as folder,
        waiting_server() if own else nullcontext(args.server[0]) as url,
    ):
        model = MODEL if own else args.server[1]
        for repeat in range(args.repeats):
            prompts = written(Path(folder), args, repeat)
            for tool in (ours, guidellm)[:: -1 if repeat % 2 else 1]:
                name = "joulelab" if tool is ours else "guidellm"
                found[name].append(tool(args, url, model, prompts))
                if own:
                    found["server, truth"].append(told(url, args))
    rows = [
        [name, *(spread([one[key] for one in each], ".2f") for key in NAMES)]
        for name, each in found.items()
        if each
    ]
    print(table(["", *NAMES.values()], rows))


def written(folder: Path, args: argparse.Namespace, seed: int) -> Path:
    """The prompts of one repeat, for both tools."""
    rng, path = np.random.default_rng(seed), folder / f"{seed}.jsonl"
    lines = [
        {
            "prompt": words(args.words, rng),
            "max_tokens": args.tokens,
            "output_tokens_count": args.tokens,
        }
        for _ in range(args.requests)
    ]
    path.write_text("\n".join(map(json.dumps, lines)))
    return path


def ours(args: argparse.Namespace, url: str, model: str, prompts: Path) -> Figures:
    """The figures of joulelab."""
    command = [sys.executable, "-m", "joulelab", "load", url, "--api", "openai", "--model", model]
    command += ["--arrivals", f"uniform-jitter({args.rate}, 0)", "--requests", str(args.requests)]
    command += ["--prompts", prompts, "--output-tokens", str(args.tokens), "--idle", "0"]
    command += ["--busy", "share", "--json"]
    data = json.loads(subprocess.run(command, stdout=subprocess.PIPE, check=True).stdout)
    tokens = data["tokens"]
    return {
        "first": 1e3 * tokens["first_from_sending"]["p50_s"],
        "per_token": 1e3 * tokens["per_token"]["p50_s"],
        "throughput": tokens["output_tokens_per_s"],
        "prompt": tokens["prompt_tokens"],
        "output": tokens["output_tokens"],
    }


def guidellm(args: argparse.Namespace, url: str, model: str, prompts: Path) -> Figures:
    """The figures of guidellm for the same."""
    out = prompts.with_suffix(".json")
    command = [args.guidellm, "run", "--disable-console"]
    command += [
        "--backend",
        f"kind=openai_http,target={url},model={model},request_format=/v1/chat/completions",
    ]
    command += ["--profile", f"kind=constant,rate={args.rate}"]
    command += ["--constraint", f"kind=max_requests,count={args.requests}"]
    command += ["--tokenizer", f"kind=huggingface_auto,model={args.tokenizer}"]
    command += ["--data", f"kind=json_file,path={prompts}", "--output", f"kind=json,path={out}"]
    subprocess.run(
        command, check=True, stderr=subprocess.DEVNULL, env=os.environ | {"HF_HUB_OFFLINE": "1"}
    )
    metrics = json.loads(out.read_text())["benchmarks"][0]["metrics"]
    return {
        "first": metrics["time_to_first_token_ms"]["successful"]["median"],
        "per_token": metrics["inter_token_latency_ms"]["successful"]["median"],
        "throughput": metrics["output_tokens_per_second"]["successful"]["mean"],
        "prompt": metrics["prompt_token_count"]["successful"]["total_sum"],
        "output": metrics["output_token_count"]["successful"]["total_sum"],
    }


def told(url: str, args: argparse.Namespace) -> Figures:
    """The server's own figures of the load that has just ended, without the probe before it."""
    done = [one for one in truth(url) if one["tokens"] == args.tokens]
    first_s = [one["first_s"] - one["arrived_s"] for one in done]
    per_token_s = [(one["last_s"] - one["first_s"]) / (args.tokens - 1) for one in done]
    lasted_s = max(one["last_s"] for one in done) - min(one["arrived_s"] for one in done)
    output = sum(one["tokens"] for one in done)
    return {
        "first": 1e3 * float(np.median(first_s)),
        "per_token": 1e3 * float(np.median(per_token_s)),
        "throughput": output / lasted_s,
        "prompt": sum(one["prompt"] for one in done),
        "output": output,
    }


if __name__ == "__main__":
    main()
