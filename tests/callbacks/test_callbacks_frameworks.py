"""Energy in Hugging Face's Trainer, Keras and XGBoost."""

import os
import time

import numpy as np
import pytest

os.environ.setdefault("KERAS_BACKEND", "torch")
pytestmark = pytest.mark.filterwarnings("ignore")
X = np.random.default_rng(0).normal(size=(64, 4)).astype("float32")
Y = (X[:, :1] > 0).astype("float32")
LOGGED = {"energy_j", "power_w", "co2e_g", "energy_forecast_j"}


@pytest.fixture(autouse=True)
def every_epoch(monkeypatch):
    """The meters are looked at after every epoch, however slow the machine is."""
    monkeypatch.setattr("joulelab.forecast.looking.CAPACITY_S", 1000.0)


@pytest.fixture(scope="module")
def keras():
    return pytest.importorskip("keras")


@pytest.fixture(scope="module")
def transformers():
    pytest.importorskip("accelerate")
    return pytest.importorskip("transformers")


@pytest.fixture(scope="module")
def xgboost():
    return pytest.importorskip("xgboost")


def fitted(keras, callbacks, epochs):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.layers.Dense(1)])
    model.compile("sgd", "mse")
    return model.fit(X, Y, epochs=epochs, batch_size=32, verbose=0, callbacks=callbacks)


def test_keras_logs_every_epoch_and_stops_at_a_budget(keras):
    from joulelab.callbacks.keras import EnergyCallback

    callback = EnergyCallback(place="NLD")
    history = fitted(keras, [callback], 3).history
    assert set(history) >= LOGGED
    assert len(history["energy_j"]) == 3
    assert callback.measurement.energy_j >= 0.99 * history["energy_j"][-1]

    stopped = EnergyCallback(budget="0.3 s")
    slow = keras.callbacks.LambdaCallback(on_epoch_begin=lambda *_: time.sleep(0.05))
    history = fitted(keras, [slow, stopped], 1000).history
    assert stopped.follower.over
    assert 1 <= len(history["loss"]) < 10


def trainer_of(transformers, tmp_path, epochs):
    import torch

    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.layer = torch.nn.Linear(4, 1)

        def forward(self, x, labels):
            time.sleep(0.02)
            return {"loss": (self.layer(x) - labels).square().mean()}

    data = [{"x": torch.tensor(x), "labels": torch.tensor(y)} for x, y in zip(X, Y, strict=True)]
    arguments = transformers.TrainingArguments(
        output_dir=str(tmp_path),
        num_train_epochs=epochs,
        per_device_train_batch_size=32,
        report_to=[],
        save_strategy="no",
        use_cpu=True,
        disable_tqdm=True,
    )
    return transformers.Trainer(Model(), arguments, train_dataset=data)


def test_the_trainer_logs_every_epoch_and_stops_at_a_budget(transformers, tmp_path):
    from joulelab.callbacks.transformers import EnergyCallback

    trainer = trainer_of(transformers, tmp_path, 3)
    callback = EnergyCallback(trainer, place="NLD")
    trainer.add_callback(callback)
    trainer.train()
    logged = [one for one in trainer.state.log_history if "energy_j" in one]
    assert len(logged) == 3
    assert set(logged[-1]) >= LOGGED
    assert callback.measurement.energy_j >= 0.99 * logged[-1]["energy_j"]

    trainer = trainer_of(transformers, tmp_path, 1000)
    stopped = EnergyCallback(budget="0.4 s")  # without the trainer the history alone has them
    trainer.add_callback(stopped)
    trainer.train()
    assert stopped.follower.over
    assert 1 <= trainer.state.epoch < 12
    assert any("energy_j" in one for one in trainer.state.log_history)


def token_trainer(transformers, tmp_path, **arguments):
    """A tiny causal model on 32 sequences of 8 tokens."""
    import torch

    config = transformers.GPT2Config(
        vocab_size=32,
        n_positions=16,
        n_embd=16,
        n_layer=1,
        n_head=2,
        bos_token_id=0,
        eos_token_id=0,
    )
    tokens = torch.arange(8)
    data = [{"input_ids": tokens, "labels": tokens}] * 32
    settings = transformers.TrainingArguments(
        output_dir=str(tmp_path),
        num_train_epochs=3,
        per_device_train_batch_size=8,
        report_to=[],
        save_strategy="no",
        use_cpu=True,
        disable_tqdm=True,
        **arguments,
    )
    return transformers.Trainer(transformers.GPT2LMHeadModel(config), settings, train_dataset=data)


def test_the_trainer_counts_the_tokens_of_a_training(transformers, tmp_path):
    from joulelab.callbacks.transformers import EnergyCallback

    trainer = token_trainer(transformers, tmp_path, include_num_input_tokens_seen=True)
    callback = EnergyCallback(trainer)
    trainer.add_callback(callback)
    trainer.train()
    assert callback.follower.tokens == 3 * 32 * 8
    assert callback.j_per_token == pytest.approx(callback.measurement.energy_j / 768)
    assert any("j_per_token" in one for one in trainer.state.log_history)
    trainer.train()  # another training begins anew
    assert callback.follower.tokens == 768


def test_joules_per_token_are_unknown_where_the_trainer_does_not_count(transformers, tmp_path):
    from joulelab.callbacks.transformers import EnergyCallback

    trainer = token_trainer(transformers, tmp_path)
    callback = EnergyCallback(trainer)
    trainer.add_callback(callback)
    trainer.train()
    assert callback.j_per_token is None
    assert "include_num_input_tokens_seen=True" in callback.why_no_tokens


def test_a_logger_that_raises_does_not_end_the_training(transformers, tmp_path, caplog):
    from joulelab.callbacks.transformers import EnergyCallback

    class Down(transformers.TrainerCallback):
        def on_log(self, args, state, control, logs=None, **_):
            if "energy_j" in logs:
                raise ConnectionError("the server is down")

    trainer = trainer_of(transformers, tmp_path, 2)
    for callback in (Down(), EnergyCallback(trainer)):
        trainer.add_callback(callback)
    trainer.train()
    assert trainer.state.epoch == 2
    said = [one.getMessage() for one in caplog.records if one.name == "joulelab.callbacks"]
    assert said == ["the logger refuses energy: ConnectionError: the server is down"]


def test_xgboost_is_measured_and_stops_at_a_budget(xgboost):
    from joulelab.callbacks.xgboost import EnergyCallback

    class Slow(xgboost.callback.TrainingCallback):
        def after_iteration(self, model, epoch, evals_log):
            time.sleep(0.02)
            return False

    data = xgboost.DMatrix(X, Y)
    callback, results = EnergyCallback(budget="1.5 s"), {}
    booster = xgboost.train(
        {"nthread": 1},
        data,
        num_boost_round=5000,
        evals=[(data, "train")],
        evals_result=results,
        verbose_eval=False,
        callbacks=[Slow(), callback],
    )
    assert callback.follower.over
    assert booster.num_boosted_rounds() < 5000
    assert callback.measurement.energy_j > 0
    assert len(results["joulelab"]["energy_j"]) == callback.follower.steps


def test_xgboost_in_scikit_learn_copies_its_callback(xgboost):
    from sklearn.base import clone

    from joulelab.callbacks.xgboost import EnergyCallback

    callback = EnergyCallback(budget="1 h")
    given = {"n_estimators": 2, "n_jobs": 1, "callbacks": [callback]}
    copied = clone(xgboost.XGBRegressor(**given)).fit(X, Y).get_params()["callbacks"][0]
    assert callback.measurement is None
    assert copied.measurement.energy_j >= 0
    assert copied.follower.steps == 2
