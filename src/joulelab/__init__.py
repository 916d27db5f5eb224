"""Joulelab: a laboratory for energy-efficient deep learning, measured in joules.

>>> import joulelab
>>> with joulelab.measure("epoch") as m:            # doctest: +SKIP
...     train()
>>> print(m)                                        # doctest: +SKIP

>>> from joulelab import Study
>>> results = Study.load("quickstart").run("out")   # doctest: +SKIP
>>> results.to_frame()                              # doctest: +SKIP
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from joulelab.lazy import importer

if TYPE_CHECKING:
    from joulelab.energy.measuring import measure, measure_idle, measured
    from joulelab.energy.monitor import Monitor
    from joulelab.forecast.tracking import track
    from joulelab.forecast.training_forecast import TrainingForecast
    from joulelab.kinds.objective.tune import tune
    from joulelab.kinds.program.events import phase, report_metric
    from joulelab.kinds.program.experiment import experiment
    from joulelab.profiling.profiler import profile
    from joulelab.study.results import Results
    from joulelab.study.study import Study
    from joulelab.tuning.space import Choice, Float, Int
    from joulelab.tuning.tuner import Tuner

__all__ = [
    "Choice",
    "Float",
    "Int",
    "Monitor",
    "Results",
    "Study",
    "TrainingForecast",
    "Tuner",
    "__version__",
    "experiment",
    "measure",
    "measure_idle",
    "measured",
    "phase",
    "profile",
    "report_metric",
    "track",
    "tune",
]
__version__ = "0.1.0"

# torch and pandas are heavy.
__getattr__ = importer(
    __name__,
    {
        "Choice": "joulelab.tuning.space",
        "Float": "joulelab.tuning.space",
        "Int": "joulelab.tuning.space",
        "Monitor": "joulelab.energy.monitor",
        "Results": "joulelab.study.results",
        "Study": "joulelab.study.study",
        "TrainingForecast": "joulelab.forecast.training_forecast",
        "Tuner": "joulelab.tuning.tuner",
        "experiment": "joulelab.kinds.program.experiment",
        "measure": "joulelab.energy.measuring",
        "measure_idle": "joulelab.energy.measuring",
        "measured": "joulelab.energy.measuring",
        "phase": "joulelab.kinds.program.events",
        "profile": "joulelab.profiling.profiler",
        "report_metric": "joulelab.kinds.program.events",
        "track": "joulelab.forecast.tracking",
        "tune": "joulelab.kinds.objective.tune",
    },
)
