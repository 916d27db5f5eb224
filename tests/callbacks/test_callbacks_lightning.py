"""Energy in Lightning: logged, forecast, and stopped at a budget."""

import time

import pytest

torch = pytest.importorskip("torch")
lightning = pytest.importorskip("lightning.pytorch")

from joulelab.callbacks.lightning import EnergyCallback  # noqa: E402


@pytest.fixture(autouse=True)
def every_epoch(monkeypatch):
    """The meters are looked at after every epoch, however slow the machine is."""
    monkeypatch.setattr("joulelab.forecast.looking.CAPACITY_S", 1000.0)


class Slow(lightning.LightningModule):
    """Takes at least 0.05 s an epoch."""

    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(4, 1)

    def training_step(self, batch, index):
        time.sleep(0.025)
        return self.layer(batch[0]).square().mean()

    def train_dataloader(self):
        data = torch.utils.data.TensorDataset(torch.zeros(8, 4))
        return torch.utils.data.DataLoader(data, batch_size=4)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), 0.1)


class Fails(Slow):
    def training_step(self, batch, index):
        raise RuntimeError("broken")


class Kept(lightning.loggers.logger.DummyLogger):
    def __init__(self):
        super().__init__()
        self.logged = []

    def log_metrics(self, metrics, step=None):
        self.logged.append(dict(metrics))


def trained(callback, tmp_path, epochs=4, module=Slow):
    logger = Kept()
    trainer = lightning.Trainer(
        max_epochs=epochs,
        callbacks=[callback],
        logger=logger,
        default_root_dir=tmp_path,
        accelerator="cpu",
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        log_every_n_steps=1,
    )
    trainer.fit(module())
    return trainer, logger


@pytest.mark.filterwarnings("ignore")
def test_every_epoch_is_logged_with_energy_power_and_forecast(tmp_path):
    callback = EnergyCallback(place="NLD")
    trainer, logger = trained(callback, tmp_path)

    logged = [one for one in logger.logged if "energy_j" in one]
    assert len(logged) == 4
    energies = [one["energy_j"] for one in logged]
    assert energies == sorted(energies)
    assert {"power_w", "co2e_g", "energy_forecast_j"} <= set(logged[-1])
    assert callback.measurement.energy_j >= energies[-1] * 0.99
    assert "energy_j" in trainer.callback_metrics


@pytest.mark.filterwarnings("ignore")
def test_a_training_stops_before_its_budget_is_overshot(tmp_path):
    callback = EnergyCallback(budget="0.4 s")
    trainer, _ = trained(callback, tmp_path, epochs=1000)
    assert callback.follower.over
    assert 1 <= trainer.current_epoch < 10


@pytest.mark.filterwarnings("ignore")
def test_a_callback_measures_anew_in_a_second_training(tmp_path):
    callback = EnergyCallback()
    trained(callback, tmp_path, epochs=2)
    first = callback.measurement
    trained(callback, tmp_path, epochs=1)
    assert callback.measurement is not first
    assert callback.follower.steps == 1


@pytest.mark.filterwarnings("ignore")
def test_only_the_first_process_of_a_machine_measures(tmp_path, monkeypatch):
    monkeypatch.setenv("SLURM_LOCALID", "1")
    callback = EnergyCallback()
    trainer, logger = trained(callback, tmp_path, epochs=1)
    assert callback.measurement is None
    assert trainer.current_epoch == 1
    assert not any("energy_j" in one for one in logger.logged)


@pytest.mark.filterwarnings("ignore")
def test_what_a_failed_training_took_is_kept(tmp_path):
    callback = EnergyCallback()
    with pytest.raises(RuntimeError, match="broken"):
        trained(callback, tmp_path, module=Fails)
    assert callback.measurement.duration_s > 0
    assert "the training did not come to its end" in callback.measurement.flags
