"""``joulelab batch --llm`` as its users call it: from a saved table, and with a model of theirs."""

import json

import pytest

from joulelab.energy.reading import Status
from joulelab.kinds.generation.token_table import TokenTable, TokenWindow, write_token_table

BATCHES, PROMPTS, IDLE_W = (1, 2, 4, 8), (100, 140), 12.0


def made_table(batches=BATCHES, joules=True):
    """Two windows of each cell: a prefill is 1 ms and 0.1 ms a token, a step 20 and 1 ms."""
    windows = []
    for batch in batches:
        for prompt in PROMPTS:
            for scatter in (0.97, 1.03):
                prefill_s = 1e-3 + 1e-4 * batch * prompt
                step_s = 0.02 + 1e-3 * batch
                windows.append(
                    TokenWindow(
                        batch=batch,
                        prompt=prompt,
                        context=prompt + 8.5,
                        prefills=10,
                        steps=160,
                        prefill_s=prefill_s,
                        step_s=step_s,
                        prefill_gross_j=50.0 * prefill_s * 10 * scatter if joules else None,
                        step_gross_j=40.0 * step_s * 160 * scatter if joules else None,
                        prefill_part_s=10 * prefill_s,
                        step_part_s=160 * step_s,
                        idle_w=IDLE_W if joules else None,
                        status=Status.MEASURED if joules else Status.MISSING,
                    )
                )
    return TokenTable(
        model="llama-tiny",
        weights="random",
        precision="float32",
        machine="a machine",
        device="cpu",
        threads=2,
        measured_at="2026-01-01T00:00:00+0000",
        sources=("rapl",),
        windows=tuple(windows),
    )


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "table.json"
    write_token_table(path, made_table())
    return path


def asked(saved, *more, lengths=(100, 50)):
    numbers = ["--input-tokens", str(lengths[0]), "--output-tokens", str(lengths[1])]
    return ["batch", "--llm", "llama-tiny", "--table", str(saved), *numbers, *more]


def test_the_first_line_is_the_answer(joulelab, saved):
    code, out, _ = joulelab(
        *asked(saved, "--rate", "2", "--p99-first", "500ms", "--p99-token", "50ms")
    )
    assert code == 0
    assert " ".join(out.split()).startswith("llama-tiny at poisson(2), 100 + 50 tokens: up to ")
    assert "sequences together: " in out
    assert "J per output token, first token p99" in " ".join(out.split())


def test_json_has_the_choice_every_candidate_and_the_costs(joulelab, saved):
    _, out, _ = joulelab(*asked(saved, "--rate", "2", "--json"))
    data = json.loads(out)
    plan = data["plans"][0]
    assert plan["best"] in BATCHES
    assert [one["most"] for one in plan["candidates"]] == list(BATCHES)
    best = next(one for one in plan["candidates"] if one["most"] == plan["best"])
    single = plan["candidates"][0]
    assert single["saturated"], "1.07 s a request, and two come in a second"
    assert single["first_s"] is None
    assert best["tokens_per_s"] == pytest.approx(100, rel=0.05)
    cell = data["table"]["cells"][0]
    assert cell["j_per_prompt_token"] == pytest.approx((50 - IDLE_W) * (1e-3 + 1e-2) / 100)
    assert cell["j_per_decoded_token"] == pytest.approx((40 - IDLE_W) * 0.021)
    assert data["repeatability"] == pytest.approx(0.03, rel=0.01)


@pytest.mark.parametrize(("limit", "shown"), [("1ms", "1.00 ms"), ("1us", "1.00 \N{MICRO SIGN}s")])
def test_a_limit_that_cannot_be_kept_is_said(joulelab, saved, limit, shown):
    code, out, _ = joulelab(*asked(saved, "--rate", "0.5", "--p99-token", limit))
    assert code == 4
    assert f"no batch size keeps time per token p99 within {shown};" in " ".join(out.split())


def test_too_many_requests_are_said_to_saturate(joulelab, saved):
    code, out, _ = joulelab(*asked(saved, "--rate", "1000"))
    assert code == 4
    assert "saturated, more arrives than can be answered: at most" in " ".join(out.split())


def test_a_saving_within_the_scatter_of_windows_is_not_claimed(joulelab, saved):
    _, out, _ = joulelab(*asked(saved, "--rate", "0.1"))
    assert "which cannot be told from batch 1 (" in " ".join(out.split())


def test_several_rates_have_a_row_each(joulelab, saved):
    _, out, _ = joulelab(*asked(saved, "--rate", "0.5,2", "--json"))
    assert [one["rate_per_s"] for one in json.loads(out)["plans"]] == [0.5, 2]


@pytest.mark.parametrize(
    ("more", "lengths", "words"),
    [
        (["--rate", "1", "--policy", "fixed(2)"], (100, 50), "--policy is not for --llm"),
        (["--rate", "1", "--p99", "1s"], (100, 50), "--p99 is not for --llm"),
        (["--rate", "1", "--replicas", "2"], (100, 50), "--replicas is not for --llm"),
        (["--rate", "1", "--precision", "int3"], (100, 50), "precision 'int3' is unknown"),
        (["--rate", "1"], (50, 50), "50 + 50 tokens are outside what was measured"),
        (["--rate", "1"], (100, 500), "100 + 500 tokens are outside what was measured"),
        ([], (100, 50), "at which rate do requests come?"),
    ],
)
def test_what_cannot_be_planned_is_refused(joulelab, saved, more, lengths, words):
    code, _, err = joulelab(*asked(saved, *more, lengths=lengths))
    assert code == 2
    assert words in " ".join(err.split())


def test_a_table_of_another_model_or_a_broken_one_is_refused(joulelab, saved):
    _, _, err = joulelab("batch", "--llm", "gpt2-tiny", "--table", str(saved), "--rate", "1")
    assert "the table is of llama-tiny, not of gpt2-tiny" in err.replace("\n", " ")
    saved.write_text(saved.read_text().replace('"prefills": 10', '"prefills": 0', 1))
    _, _, err = joulelab(*asked(saved, "--rate", "1"))
    assert "windows.0.prefills" in err


def test_without_energy_the_time_of_the_server_decides(joulelab, tmp_path):
    path = tmp_path / "table.json"
    write_token_table(path, made_table(joules=False))
    _, out, _ = joulelab(*asked(path, "--rate", "2"))
    assert "of a server per output token" in " ".join(out.split())
    assert "no energy is known" in out
