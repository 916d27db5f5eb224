"""Green tuning and joules in a study of Optuna; needs ``joulelab[tune]``.

::

    from joulelab.tuning.optuna import EnergyCallback, GreenSampler

    energy = EnergyCallback(budget="20kJ")
    study = optuna.create_study(direction="maximize", sampler=GreenSampler(seed=0))
    study.optimize(energy.measured(objective), callbacks=[energy])
    study.best_trial.user_attrs["energy_j"]
"""

from joulelab.tuning.optuna.energy import EnergyCallback
from joulelab.tuning.optuna.sampler import GreenSampler

__all__ = ["EnergyCallback", "GreenSampler"]
