"""Results folders written by the store's own functions, without running anything."""

import json
import time

from joulelab.energy.measurement import Measurement
from joulelab.energy.reading import Reading, Status, total
from joulelab.study.plan import make_plan
from joulelab.study.store import Store
from joulelab.study.stored_ledger import Ending
from joulelab.study.study_file import check_spec

QUICK = {"meters": ["estimate"], "idle_s": 0, "cool_down_s": 0, "interval_s": 0.02}


def spec_of(levels=(1, 2, 3), repetitions=2, **changes):
    """A study of a command that does nothing."""
    table = {
        "kind": "command",
        "command": "true {width}",
        "repetitions": repetitions,
        "metrics": {"accuracy": "max"},
        "vary": {"width": list(levels)},
        **changes,
    }
    return check_spec({"name": "widths", "energy": QUICK, "experiment": {"width": table}})


SECONDS = 2.0
"""Of a run."""


class Writer:
    """Writes a study as the runner does.

    Args:
        folder: of the results.
        spec: the study; default: `spec_of`.
    """

    def __init__(self, folder, spec=None):
        self.folder, self.spec = folder, spec or spec_of()
        self.plan = make_plan(self.spec)
        self.store = Store.open(folder, self.spec.to_toml())
        self.store.plan(self.plan.runs)
        self.left = list(self.plan.runs)
        self.session = self.store.session()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.store.close()

    def begin(self):
        """Begin the next run; its entry in the ledger."""
        self.running = self.left.pop(0)
        return self.store.begin(self.session, "run", time.time(), [self.running])

    def beat(self, entry, joules, seconds):
        sample = measured(joules, seconds)
        self.store.progress(entry, sample, total(sample.readings))

    def end(
        self, entry, joules=10.0, *, accuracy=0.5, seconds=2.0, error=None, details=None, **row
    ):
        sample = measured(joules, SECONDS)
        sums = total(sample.readings)
        state = "failed" if error else "finished"
        columns = {
            "run_id": self.running.run_id,
            "state": state,
            "accuracy": None if error else accuracy,
            "energy_gross_j": sums.gross_j,
            "energy_net_j": sums.net_j,
            "energy_status": str(sums.status),
            "duration_s": SECONDS,
            "started_at": time.time() - 1,
            "error": error,
            **row,
        }
        if "metrics" in columns:
            columns["metrics"] = json.dumps({"values": columns["metrics"]})
        self.store.end(entry, Ending(state, sample, sums, details or error, [columns]))

    def run(self, **outcome):
        """Run the next."""
        self.end(self.begin(), **outcome)

    def run_all(self):
        while self.left:
            self.run()


def measured(joules, seconds):
    reading = Reading("cpu:0", "estimate", Status.ESTIMATED, joules, 0.4 * joules, 1.0, seconds)
    return Measurement("run", time.time(), seconds, (reading,), 3, 0.1)
