"""Costs of tokens, measured through ``joulelab batch --llm`` with a model of one's own."""

import json
import shutil
from pathlib import Path

from joulelab.kinds.generation.table_measuring import TokenWork
from joulelab.kinds.generation.token_table import read_token_table
from joulelab.kinds.inference import schedule

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
