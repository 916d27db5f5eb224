"""Energy in Lightning: logged, forecast, and stopped at a budget."""

import pytest

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(autouse=True)
def every_epoch(monkeypatch):
    """The meters are looked at after every epoch, however slow the machine is."""
    monkeypatch.setattr("joulelab.forecast.looking.CAPACITY_S", 1000.0)


@pytest.fixture(scope="module")
def trained():
    """Trains a tiny model; importing Lightning takes seconds, which collecting tests need not."""
    pytest.importorskip("lightning.pytorch")
    import lightning_training

    return lightning_training.trained


@pytest.fixture(scope="module")
def energy_callback(trained):
    from joulelab.callbacks.lightning import EnergyCallback

    return EnergyCallback


def test_every_epoch_is_logged_with_energy_power_and_forecast(trained, energy_callback, tmp_path):
    callback = energy_callback(place="NLD")
    trainer, logger = trained(callback, tmp_path)

    logged = [one for one in logger.logged if "energy_j" in one]
    assert len(logged) == 4
    energies = [one["energy_j"] for one in logged]
    assert energies == sorted(energies)
    assert {"power_w", "co2e_g", "energy_forecast_j"} <= set(logged[-1])
    assert callback.measurement.energy_j >= energies[-1] * 0.99
    assert "energy_j" in trainer.callback_metrics


def test_a_training_stops_before_its_budget_is_overshot(trained, energy_callback, tmp_path):
    callback = energy_callback(budget="0.4 s")
    trainer, _ = trained(callback, tmp_path, epochs=1000)
    assert callback.follower.over
    assert 1 <= trainer.current_epoch < 10


def test_a_callback_measures_anew_in_a_second_training(trained, energy_callback, tmp_path):
    callback = energy_callback()
    trained(callback, tmp_path, epochs=2)
    first = callback.measurement
    trained(callback, tmp_path, epochs=1)
    assert callback.measurement is not first
    assert callback.follower.steps == 1


def test_only_the_first_process_of_a_machine_measures(
    trained, energy_callback, tmp_path, monkeypatch
):
    monkeypatch.setenv("SLURM_LOCALID", "1")
    callback = energy_callback()
    trainer, logger = trained(callback, tmp_path, epochs=1)
    assert callback.measurement is None
    assert trainer.current_epoch == 1
    assert not any("energy_j" in one for one in logger.logged)


def test_what_a_failed_training_took_is_kept(trained, energy_callback, tmp_path):
    callback = energy_callback()
    with pytest.raises(RuntimeError, match="broken"):
        trained(callback, tmp_path, fails=True)
    assert callback.measurement.duration_s > 0
    assert "the training did not come to its end" in callback.measurement.flags
