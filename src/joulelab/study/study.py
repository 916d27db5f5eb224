"""Load, plan, run and resume a study."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from joulelab.errors import UsageError, quoted
from joulelab.optional import require
from joulelab.registry import imported
from joulelab.study.code_copies import CodeCopies, code_copies
from joulelab.study.database import DATABASE
from joulelab.study.listener import Listener
from joulelab.study.now import announced
from joulelab.study.plan import Plan, make_plan
from joulelab.study.prediction import Prediction, record
from joulelab.study.results import Results
from joulelab.study.runner import Calibrator
from joulelab.study.session import Session
from joulelab.study.spec import StudySpec
from joulelab.study.store import Store
from joulelab.study.store_reading import read_manifest, stored_states
from joulelab.study.study_file import load_spec, results_folder, stored_code
from joulelab.study.trust import STUDY, approve, code_in, code_of
from joulelab.study.working import Working, meters_of, opened
from joulelab.study.workload import Begun, Workloads, check_unchanged


@dataclass(frozen=True)
class Study:
    """A validated study, ready to plan and run.

    Attributes:
        spec: every key with its value.
        data_dir: folder of data sets; not part of the study's identity.
        folder: the results folder that it was loaded from, unchanged.
    """

    spec: StudySpec
    data_dir: Path | None = None
    folder: Path | None = field(default=None, compare=False)

    @classmethod
    def load(
        cls,
        study: str | Path,
        overrides: Sequence[str] = (),
        plugins: Sequence[str | Path] = (),
        data_dir: str | Path | None = None,
        scale: float | None = None,
        *,
        trust: bool = False,
    ) -> Study:
        """Load a shipped study by name, a study file, or the study of a results folder.

        Args:
            study: for instance ``"quickstart"`` or ``"mine.toml"``.
            overrides: ``"key=value"`` each, as for ``joulelab run --set``.
            plugins: Python files with the user's parts.
            data_dir: folder of data sets; default: ``JOULELAB_DATA``.
            scale: scale the study down to this share of the work, between 0 and 1; `overrides` are
                not changed.
            trust: run the code of a results folder's study without asking.

        Raises:
            UntrustedCodeError: a results folder uses code that the user has not run yet.
            UsageError: the study file has a mistake; gives the location.
        """
        spec = load_spec(study, overrides, plugins, scale, trust=trust)
        folder = None if overrides else results_folder(study)
        return cls(spec, Path(data_dir).expanduser() if data_dir else None, folder)

    def plan(self) -> Plan:
        """Plan all runs in order; only reads the study file.

        Raises:
            SpecError: an experiment excludes everything.
        """
        return make_plan(self.spec)

    def predict(self, listener: Listener | None = None) -> tuple[Plan, Prediction]:
        """Predict time and energy of every run that is left, by timing parts of some.

        Raises:
            JoulelabError: the study cannot be run here.
            UsageError: it cannot be predicted.
        """
        listener = listener or Listener()
        self._check_installed()
        plan = self.plan()
        states = self.states()
        if self.folder is not None:
            code_copies(self.spec, self.folder).check_unchanged(read_manifest(self.folder))
        listener.laid_out(self.spec, plan, states)
        with meters_of(self.spec) as recorder:
            session = Session(self.spec, self.data_dir, recorder, listener)
            listener.measuring(session.devices)
            with Workloads(plan.configurations, session) as workloads:
                workloads.load()
                session.measure_idle()
                prediction = workloads.predict(
                    plan.configurations_left(states), Calibrator(), brief=False
                )
        if not prediction.knows(plan.left(states)):
            raise UsageError(
                "how long a search takes is not known beforehand: it ends with its budget",
                "run it",
            )
        listener.predicted(prediction)
        return plan, prediction

    def _check_installed(self) -> None:
        for experiment in self.spec.experiments().values():
            require(*experiment.needs(), user=f"kind = {quoted(experiment.kind)}")

    def states(self) -> dict[str, str]:
        """The state of every run in the folder that the study was loaded from, by its id."""
        return {} if self.folder is None else _stored_states(self.folder)

    def run(
        self, out: str | Path, listener: Listener | None = None, on: str | None = None
    ) -> Results:
        """Run the study, or resume it, in a results folder.

        Args:
            out: the results folder; created where it does not exist.
            listener: hears what happens.
            on: engine of the workers, ``"local:2"``; default: that of the study, or this process.

        Returns:
            The results. Runs that raised are in it as failed; `Results.failed` counts them.

        Raises:
            KeyboardInterrupt: after booking the work in progress; call again to resume.
            JoulelabError: the study cannot be run, or the folder cannot be used.
        """
        listener = listener or Listener()
        self._check_installed()
        on = on or (self.spec.execution.on if self.spec.execution else None)
        if on is not None:  # refused before anything is begun
            imported("joulelab.execution.waiting:workers_of")(on, self.spec.execution)
        folder = Path(out).expanduser()
        plan = self.plan()
        copies = code_copies(self.spec, folder)
        if on is not None and plan.left(_stored_states(folder)):
            imported("joulelab.execution.pool:check")(on, self.spec.execution)
        with Store.open(folder, copies.toml) as store, announced(listener, folder) as hears:
            states = store.states()
            hears.laid_out(self.spec, plan, states)
            left = plan.left(states)
            if left:
                self._copy_code(copies, store.manifest(), hears)
            approve([code_in(folder / STUDY)])
            if left and on is None:
                self._session(plan, store, hears, copies)
            elif left:
                carry_out = imported("joulelab.execution.pool:carry_out")
                carry_out(self, plan, store, copies, hears, on)
        return Results.open(folder)

    def _copy_code(
        self, copies: CodeCopies, manifest: Mapping[str, Any], listener: Listener
    ) -> None:
        """Copy the code into the folder; from then on the user has used the copies too."""
        copies.check_unchanged(manifest)
        if copies.base != copies.root and copies.places:
            listener.doing(f"running the copies in {copies.base}")
        copies.write(begun=bool(manifest))
        if not manifest:
            approve([*code_of(self.spec.to_dict()), *stored_code(copies.study, copies.folder)])

    def _session(self, plan: Plan, store: Store, listener: Listener, copies: CodeCopies) -> None:
        """The session of this process."""
        with opened(self.spec, self.data_dir, plan, store, listener) as working:
            with closing(working.begin()) as ledger, working.heard():
                working.load()
                workloads = working.workloads
                manifest = store.manifest()
                copies.add(workloads.files())
                now = {**copies.conditions, **working.conditions()}
                engines = list(dict.fromkeys(store.finished_values("engine")))
                begun = Begun(store.folder, self.spec, manifest, engines)
                check_unchanged(plan.configurations, begun, now)
                store.plan(plan.runs)
                sessions = [*manifest.get("sessions", []), working.entry(now)]
                latest = {**workloads.latest(now), "plugins": copies.plugins}
                store.write_manifest({**now, **manifest, **latest, "sessions": sessions})
                sessions[-1]["idle_before_w"] = working.measure_idle_alone()
                ledger.switch("between")
                self._predict(plan, working, store, sessions)
                left = {run.run_id for run in plan.left(store.states())}
                for group in plan.groups:
                    runs = [run for run in group.runs if run.run_id in left]
                    if runs:
                        copies.check_programs()
                    working.run(group, runs)
                sessions[-1]["idle_after_w"] = working.measure_idle()
            sessions[-1]["ended_at"] = time.strftime("%Y-%m-%dT%H:%M:%S%z")
            store.write_manifest({**store.manifest(), "sessions": sessions})

    def _predict(
        self, plan: Plan, working: Working, store: Store, sessions: list[dict[str, Any]]
    ) -> None:
        """Predict what is left, and note it in the manifest."""
        left = plan.left(store.states())
        configurations = plan.configurations_left(store.states())
        prediction = working.workloads.predict(configurations, working.recorder, brief=True)
        predicted_at = time.time()
        working.recorder.ledger.switch("between")  # the comparison with it starts here
        if prediction.knows(left):
            basis = [one.basis for one in working.summaries]
            sessions[-1]["prediction"] = record(prediction, left, basis, predicted_at)
            store.write_manifest({**store.manifest(), "sessions": sessions})
            working.session.listener.predicted(prediction)


def _stored_states(folder: Path) -> dict[str, str]:
    """The state of every run in a results folder, by its id; empty if there is none."""
    return stored_states(folder) if (folder / DATABASE).exists() else {}
