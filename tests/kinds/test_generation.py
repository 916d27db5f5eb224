"""Studies of kind generation: what is stored of a run, what is refused, and the report."""

import contextlib
import itertools
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from joulelab.errors import SpecError, UsageError
from joulelab.kinds.generation import workload
from joulelab.kinds.generation.cells import cells
from joulelab.kinds.generation.figures_of_run import per_token
from joulelab.kinds.generation.report import by_batch, by_prompt, generation_findings
from joulelab.kinds.generation.tables import (
    batching_saves,
    energy_effects,
    energy_of_tokens,
    time_of_tokens,
)
from joulelab.report.experiment import EnergyBasis, Experiment
from joulelab.report.ledger import ReportedStudy
from joulelab.report.pages import write_report
from joulelab.serving.generation.tasks import Generated
from joulelab.study.study import Study
from joulelab.study.study_file import check_spec, load_spec
from shown import reason

MODELS = Path(__file__).parent.parent / "serving"
TABLE = {
    "kind": "generation",
    "models": ["causal_models:causal"],
    "batch_sizes": [2, 1],
    "prompt_tokens": [5],
    "output_tokens": [4],
    "precisions": ["float32", "bfloat16"],
    "seconds": 0.06,
    "repetitions": 2,
}
STUDY = {
    "name": "generated",
    "threads": 1,
    "seed": 5,
    "energy": {"meters": ["estimate"], "idle_s": 0.05, "interval_s": 0.02, "cool_down_s": 0},
}
FACTORS = ("model", "batch_size", "prompt_tokens", "output_tokens", "precision")


def study(**changes):
    return Study(check_spec({**STUDY, "experiment": {"generation": {**TABLE, **changes}}}))


@pytest.fixture(scope="module")
def finished(tmp_path_factory, one_server):
    with contextlib.chdir(MODELS):
        return study().run(tmp_path_factory.mktemp("generation") / "out")


def test_a_run_has_the_times_and_energies_of_its_tokens(finished):
    runs = finished.to_frame()
    assert list(runs["state"]) == ["finished"] * 8
    assert set(runs["precision"]) == {"float32", "bfloat16"}
    assert (runs["prefills"] >= 3).all()
    assert (runs["generations"] >= 2).all()
    assert (runs["tokens"] == runs["generations"] * runs["batch_size"] * 4).all()
    assert (runs["parameters"] == 3).all()
    assert (runs["token_p50_s"] <= runs["token_p95_s"]).all()
    assert set(runs["weights"]) == {"as the factory returns them"}
    assert set(runs["parts_status"]) == {"estimated"}


def test_the_parts_of_a_window_add_up_to_no_more_than_its_energy(finished):
    runs = finished.to_frame()
    of_prefills = runs["gross_per_prompt_token_j"] * runs["prefills"] * runs["batch_size"] * 5
    of_generations = runs["gross_per_output_token_j"] * runs["tokens"]
    whole = (of_prefills + of_generations) / runs["energy_gross_j"]
    assert whole.between(0.5, 1.001).all()
    longer = runs["gross_per_output_token_j"] / runs["gross_per_token_j"]
    assert longer.to_numpy() == pytest.approx(9 / 4)


def test_loading_is_booked_beside_the_windows(finished):
    ledger = finished.ledger_frame()
    assert list(ledger["kind"]).count("generation") == 8
    assert "calibration" in set(ledger["kind"])


def test_a_session_predicts_its_runs(finished):
    predicted = finished.predictions_frame()
    assert len(predicted) == 8
    assert (predicted["predicted_s"] > 0.06).all()
    assert (predicted["predicted_j"] > 0).any()


def test_its_page_has_the_tables_of_tokens(finished, unpictured):
    page = write_report(ReportedStudy(finished)).read_text("utf-8")
    assert "Energy of a token" in page
    assert "What batching saves" in page
    assert "epochs" not in page


def test_a_finished_study_is_not_run_again(finished, monkeypatch):
    monkeypatch.chdir(MODELS)
    monkeypatch.setattr(
        workload, "time_generation", lambda *_: pytest.fail("there is nothing to predict")
    )
    before = finished.to_frame()["started_at"]
    again = study().run(finished.folder)
    assert list(again.to_frame()["started_at"]) == list(before)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"models": ["gpt2-tinny"]}, "gpt2-tinny"),
        ({"models": ["mine:"]}, "does not name a factory"),
        ({"models": ["gpt2-tiny"], "prompt_tokens": [1021]}, "too long for the context"),
    ],
)
def test_impossible_models_and_lengths_are_refused_before_a_run(changes, words, tmp_path):
    with pytest.raises(UsageError, match=words):
        study(**changes).run(tmp_path / "out")


def test_a_precision_without_operators_is_refused_with_the_reason(monkeypatch, tmp_path):
    monkeypatch.chdir(MODELS)
    monkeypatch.setattr(
        "joulelab.serving.generation.generator.missing_precision",
        lambda precision, _: "no kernel for 'Half'" if precision == "float16" else "",
    )
    with pytest.raises(SpecError, match="float16 cannot be used on cpu: no kernel for 'Half'"):
        study(precisions=["float32", "float16"]).run(tmp_path / "out")


def test_a_batch_that_does_not_fit_is_a_failed_run(tmp_path, one_server, monkeypatch):
    monkeypatch.chdir(MODELS)
    results = study(
        models=["causal_models:cramped"],
        batch_sizes=[1, 4],
        precisions=["float32"],
        repetitions=1,
    ).run(tmp_path / "out")
    runs = results.to_frame().set_index("batch_size")
    assert runs["state"].to_dict() == {1: "finished", 4: "failed"}
    assert "do not fit in the memory" in runs.loc[4, "error"]


def test_a_miniature_has_fewer_and_shorter_windows():
    whole = load_spec("generation-quick").experiment["generation"]
    small = load_spec("generation-quick", scale=0.3).experiment["generation"]
    work = small["seconds"] * small["repetitions"]
    assert work == pytest.approx(0.3 * whole["seconds"] * whole["repetitions"], rel=0.01)
    assert 2 <= small["repetitions"] < whole["repetitions"]


def test_a_model_folder_is_found_from_the_study_file(tmp_path):
    (tmp_path / "mine").mkdir()
    table = {"kind": "generation", "models": ["mine", "gpt2-tiny", "a:b"]}
    from joulelab.kinds.generation.spec import GenerationSpec

    GenerationSpec.located(table, tmp_path)
    assert table["models"] == [str(tmp_path / "mine"), "gpt2-tiny", "a:b"]


def test_the_memory_of_a_registered_model_is_counted():
    one = study(models=["gpt2-tiny"], batch_sizes=[8], precisions=["float32"])
    configuration = one.plan().configurations[0]
    weights, cache = 16_288_512, 8 * 9 * 2 * 4 * 256
    assert configuration.memory_bytes() == pytest.approx(4 * (weights + cache), rel=0.001)


def test_joules_are_divided_by_the_tokens_that_they_are_for():
    made = Generated(2, 10, 6, (), 0, None)
    assert per_token(made, 4.0, 24.0) == pytest.approx(
        {
            "per_prompt_token_j": 0.2,
            "per_output_token_j": 2.0,
            "per_decoded_token_j": 2.0,
            "per_token_j": 0.75,
        }
    )
    assert set(per_token(made, None, 24.0).values()) == {None, 2.0, 0.75}


def experiment(models=("a", "b"), batches=(1, 8), prompts=(32, 256), n=3, column="energy_net_j"):
    """Runs made by a formula: no energy here was measured."""
    random = np.random.default_rng(2)
    rows = []
    for model, batch, prompt, _ in itertools.product(models, batches, prompts, range(n)):
        output_j = (1 + 0.001 * prompt + 2 / batch) * random.normal(1, 0.02)
        rows.append(
            {
                "model": model,
                "batch_size": batch,
                "prompt_tokens": prompt,
                "output_tokens": 32,
                "precision": "float32",
                "configuration": f"{model}, {batch}, {prompt}",
                "energy_net_j": 60 * output_j,
                "net_per_output_token_j": output_j,
                "gross_per_output_token_j": 1.2 * output_j,
                "net_per_prompt_token_j": 0.05 / batch + 0.01,
                "net_per_decoded_token_j": 0.9 * output_j,
                "net_per_token_j": output_j * 32 / (32 + prompt),
                "prefill_s": 0.1,
                "token_p50_s": 0.02,
                "token_p95_s": 0.03,
                "tokens_per_s": 40.0 * batch,
                "peak_memory_bytes": 5e8,
                "weights": "random",
            }
        )
    runs = pd.DataFrame(rows)
    remarks = () if column else ("No energy is known.",)
    return Experiment(
        name="generation",
        kind="generation",
        protocol="",
        factors=FACTORS,
        runs=runs,
        planned=len(runs),
        failed=0,
        score="mean",
        energy=EnergyBasis(column, "estimated" if column else "missing", remarks),
    )


def test_cells_are_means_over_their_repetitions_with_intervals():
    one = experiment()
    table = cells(one)
    assert len(table) == 8
    row = table[(table["model"] == "a") & (table["batch_size"] == 8)].iloc[0]
    runs = one.runs[(one.runs["configuration"] == "a, 8, 32")]
    assert row["per_output_token_j"] == pytest.approx(runs["net_per_output_token_j"].mean())
    assert row["per_output_token_j_low"] < row["per_output_token_j"]


def test_the_saving_of_a_batch_is_that_of_its_output_tokens():
    rows = batching_saves(experiment()).frame
    assert list(rows["best"]) == [8] * 4
    assert rows["saving"].to_numpy() == pytest.approx(1 - 1.282 / 3.032, abs=0.06)


def test_findings_name_the_cheapest_setting_and_what_moves_the_energy():
    said = " ".join(generation_findings(experiment()))
    assert "a: an output token costs least at batch 8, 32 prompt tokens: 1.2" in said
    assert "times as much as a prompt token" in said
    assert "Energy per output token depends on batch_size" in said
    assert "do not depend on the weights" in said


def test_figures_follow_the_batch_and_the_prompt():
    assert "1.2" in by_batch(experiment()).alt
    assert reason(by_prompt, experiment(prompts=(32,))) == "it needs two levels of prompt_tokens."
    assert by_prompt(experiment()).draw("screen").axes


def test_without_energy_the_times_remain():
    one = experiment(column=None)
    assert reason(energy_of_tokens, one) == "No energy is known."
    assert reason(energy_effects, one) == "No energy is known."
    assert time_of_tokens(one).frame["tokens_per_s"].notna().all()
    assert not any("Energy per token" in said for said in generation_findings(one))
