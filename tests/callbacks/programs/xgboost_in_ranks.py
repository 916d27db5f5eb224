"""A training by XGBoost, in each of two processes that share its work, with a budget of 1.5 s."""

import json
import os
import time
from pathlib import Path

import numpy as np
import xgboost
from xgboost import collective
from xgboost.tracker import RabitTracker

from joulelab.callbacks.xgboost import EnergyCallback


class Slow(xgboost.callback.TrainingCallback):
    """Takes at least 0.02 s a round."""

    def after_iteration(self, model, epoch, evals_log):
        """Wait."""
        time.sleep(0.02)
        return False


rank, meeting = int(os.environ.pop("LOCAL_RANK")), Path("tracker.json")
if rank == 0:
    tracker = RabitTracker(host_ip="127.0.0.1", n_workers=2)
    tracker.start()
    meeting.with_suffix(".part").write_text(json.dumps(tracker.worker_args()))
    meeting.with_suffix(".part").rename(meeting)
while not meeting.exists():
    time.sleep(0.05)
with collective.CommunicatorContext(**json.loads(meeting.read_text())):
    data = xgboost.DMatrix(np.arange(64.0).reshape(16, 4), np.arange(16.0))
    callback = EnergyCallback(budget="1.5 s")
    booster = xgboost.train(
        {"nthread": 1}, data, num_boost_round=5000, callbacks=[Slow(), callback]
    )
    measured = callback.measurement
    told = {
        "rank": collective.get_rank(),
        "steps": booster.num_boosted_rounds(),
        "measured_s": measured and measured.duration_s,
    }
    Path(f"told-{told['rank']}.json").write_text(json.dumps(told))
