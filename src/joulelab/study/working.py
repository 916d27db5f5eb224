"""The work of one process on a study, from measuring idle power to measuring it again.

::

    opened ── begin, load ── run(group) ── run(group) ... ── end
      └ meters  └ workloads, ledger, idle power             └ idle power

`Study.run` works so in its own process; the workers of an engine in theirs, with a store that
passes on what is entered.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from joulelab.energy.detection import open_recorder
from joulelab.energy.lock import DeviceLocks
from joulelab.energy.recorder import Recorder
from joulelab.errors import StoreError
from joulelab.study.accounting import Ledger
from joulelab.study.executor import HEARTBEAT_INTERVAL_S
from joulelab.study.listener import Listener, WorkloadSummary
from joulelab.study.manifest import conditions, new_session
from joulelab.study.plan import Group, Plan
from joulelab.study.planned_run import PlannedRun
from joulelab.study.runner import RunRecorder
from joulelab.study.session import Session
from joulelab.study.spec import StudySpec
from joulelab.study.store import Store
from joulelab.study.workload import Workloads


class Working:
    """Meters, workloads and books of one process.

    Attributes:
        session: device and meters.
        workloads: of the study.
        summaries: of them; after `load`.
        started_at: seconds since the epoch.
        recorder: books and stores; after `begin`.
    """

    recorder: RunRecorder

    def __init__(
        self, session: Session, workloads: Workloads, store: Store, started_at: float
    ) -> None:
        self.session = session
        self.workloads = workloads
        self.started_at = started_at
        self.summaries: Sequence[WorkloadSummary] = ()
        self._store = store
        self._setup = session.recorder.open("setup")

    def load(self) -> None:
        """Load the workloads.

        Raises:
            JoulelabError: the study cannot be run here.
        """
        self.summaries = self.workloads.load()

    def conditions(self) -> dict[str, Any]:
        """What the results depend on, for the manifest."""
        return {**conditions(self.session), **self.workloads.conditions()}

    def begin(self) -> Ledger:
        """Open the books of a session, with its set-up, which has begun with the meters."""
        meters, device = self.session.recorder, self.session.device.domain
        ledger = Ledger(self._store, meters, self.session.domains, device)
        ledger.adopt("setup", self._setup)
        spec, listener = self.session.spec, self.session.listener
        self.recorder = RunRecorder(spec, self._store, ledger, listener)
        return ledger

    def entry(self, now: dict[str, Any]) -> dict[str, Any]:
        """The session in the manifest.

        Args:
            now: its conditions.
        """
        return new_session(self.recorder.ledger.session, self.started_at, now)

    def measure_idle(self) -> dict[str, float]:
        """Idle power in watts by domain, booked."""
        self.recorder.ledger.switch("idle")
        return self.session.measure_idle()

    def measure_idle_alone(self) -> dict[str, float]:
        """Idle power, as `measure_idle`, while nobody else measures on these devices."""
        session = self.session
        if not session.spec.energy.idle_s:
            return self.measure_idle()

        def wait(what: str) -> None:
            self.recorder.ledger.switch("waiting")
            session.on_wait(what)

        with DeviceLocks(session.devices, "idle power") as locks:
            locks.acquire(on_wait=wait)
            return self.measure_idle()

    @contextmanager
    def heard(self) -> Iterator[None]:
        """Enter every two seconds what is done beside runs, in case this process is killed."""
        ledger, stop = self.recorder.ledger, threading.Event()

        def tell() -> None:
            # What makes this fail, such as a full disk, makes the next entry of the work fail too.
            with suppress(StoreError):
                while not stop.wait(HEARTBEAT_INTERVAL_S):
                    around = [one.beside for one in self.session.executors]
                    for kind, window in filter(None, (ledger.open, *around)):
                        ledger.so_far(kind, window.so_far())

        thread = threading.Thread(target=tell, name="joulelab-beside-runs", daemon=True)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()

    def run(self, group: Group, pending: Sequence[PlannedRun]) -> None:
        """Carry out what is left of a group.

        Args:
            group: all runs that stay together.
            pending: those that have not finished.
        """
        self.workloads.of(group.configuration).run(group, pending, self.recorder)


@contextmanager
def opened(
    spec: StudySpec,
    data_dir: Path | None,
    plan: Plan,
    store: Store,
    listener: Listener,
    *,
    alone: bool = True,
) -> Iterator[Working]:
    """Open the meters of a study; what it needs is loaded by the caller.

    Args:
        spec: the study.
        data_dir: folder of data sets.
        plan: of the study.
        store: for what will be done.
        listener: hears what happens.
        alone: as of `Session`.

    Raises:
        JoulelabError: the study cannot be run here.
    """
    with meters_of(spec) as meters:
        started_at = time.time()
        session = Session(spec, data_dir, meters, listener, store.folder, alone=alone)
        with Workloads(plan.configurations, session) as workloads:
            yield Working(session, workloads, store, started_at)


def meters_of(spec: StudySpec) -> Recorder:
    """The meters that a study names, open.

    Args:
        spec: the study.
    """
    energy = spec.energy
    names = None if energy.meters == "auto" else list(energy.meters)
    settings = {"estimate": {"tdp_w": energy.tdp_w}} if energy.tdp_w else {}
    return open_recorder(names, interval_s=energy.interval_s, settings=settings)
