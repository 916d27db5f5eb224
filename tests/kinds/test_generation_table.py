"""Costs of tokens, measured through ``joulelab batch --llm`` with a model of one's own."""

import json
import shutil
from collections import Counter
from pathlib import Path

from joulelab.energy.detection import open_recorder
from joulelab.kinds.generation.executor import GenerationExecutor, GenerationJob
from joulelab.kinds.generation.table_measuring import TokenWork
from joulelab.kinds.generation.token_table import read_token_table
from joulelab.kinds.inference import schedule
from joulelab.serving.generation.tasks import DECODE, GenerationTask, Part
from joulelab.serving.tasks import ModelSource
from joulelab.study.accounting import counted

MODELS = Path(__file__).parent.parent / "serving" / "causal_models.py"


def test_a_model_of_ones_own_is_measured_and_its_table_saved(
    joulelab, tmp_path, monkeypatch, one_server
):
    shutil.copy(MODELS, tmp_path / "own_causal.py")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(schedule, "LEAST_IDLE_S", 0.05)
    monkeypatch.setattr(schedule, "LEAST_WINDOW_S", 0.05)
    monkeypatch.setattr(TokenWork, "window_lengths", (1,))
    code, out, err = joulelab(
        *("batch", "--llm", "own_causal:cramped", "--rate", "5", "--meter", "estimate"),
        *("--input-tokens", "8", "--output-tokens", "24", "--patience", "10min", "--threads", "1"),
        *("--save", "own.json", "--json"),
    )
    assert code == 0
    data = json.loads(out)
    table = read_token_table(tmp_path / "own.json")
    assert {(one.batch, one.prompt) for one in table.cells} == {
        (batch, prompt) for batch in (1, 2) for prompt in (8, 15)
    }
    assert "4 sequences together left out: 4 sequences of 8 tokens do not fit" in " ".join(
        data["warnings"]
    )
    assert data["plans"][0]["best"] in (1, 2)
    assert "trying 1 sequence together" in err


def test_a_batch_that_fails_in_a_later_round_is_left_out_of_the_rest(monkeypatch, one_server):
    # Windows as short as can be: two of each piece, so the 150th call is in the second round.
    for name in ("LEAST_IDLE_S", "LEAST_WINDOW_S", "LONGEST_WINDOW_S"):
        monkeypatch.setattr(schedule, name, 1e-9)
    source = ModelSource("causal_models:Tiring", {"calls": 150}, (str(MODELS.parent),))
    task = GenerationTask(source, "float32", 1, 8, 24, (Part(DECODE, 0.0, 1),))
    with open_recorder(["estimate"]) as recorder:
        executor = GenerationExecutor(recorder, "cpu", 0.0, lambda _: None)
        found = schedule.Schedule(
            executor,
            TokenWork(GenerationJob("loading", "cpu", 1, task)),
            schedule.Patience(600.0, largest=2),
            lambda one: counted(one, None, "cpu"),
            lambda _: None,
        ).run()
        executor.close()
    kept = Counter((one.batch, one.prompt) for one in found.windows)
    assert kept == {(1, 8): 3, (1, 15): 3, (2, 8): 1, (2, 15): 1}
    assert sum("2 sequences together left out" in one for one in found.remarks) == 1
