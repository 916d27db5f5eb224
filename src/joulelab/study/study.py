"""A study from beginning to end: load it, plan it, run it, go on with it."""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

from joulelab.energy.detection import open_recorder
from joulelab.energy.recorder import Recorder
from joulelab.learning.engine import TrainingTask
from joulelab.study.accounting import Ledger
from joulelab.study.bench import Bench
from joulelab.study.engine_choice import check_same_engine
from joulelab.study.executor import Job, Outcome
from joulelab.study.listener import Listener
from joulelab.study.manifest import check_unchanged, conditions, new_session
from joulelab.study.plan import Plan, make_plan
from joulelab.study.prediction import PLAN_LONG_S, RUN_LONG_S, Prediction
from joulelab.study.results import Results
from joulelab.study.runner import DONE, Runner
from joulelab.study.spec import StudySpec, load_spec
from joulelab.study.store import Store


@dataclass(frozen=True)
class Study:
    """A checked study file, ready to be planned and run.

    Attributes:
        spec: every key with its value.
        data_dir: the folder with data sets; it is no part of the study's identity.
    """

    spec: StudySpec
    data_dir: Path | None = None

    @classmethod
    def load(
        cls,
        study: str | Path,
        overrides: Sequence[str] = (),
        plugins: Sequence[str | Path] = (),
        data_dir: str | Path | None = None,
        scale: float | None = None,
    ) -> Study:
        """Load a shipped study by name, a study file, or the study of a results folder.

        Args:
            study: for instance ``"quickstart"`` or ``"mine.toml"``.
            overrides: ``"key=value"`` each, as for ``joulelab run --set``.
            plugins: Python files with parts of one's own.
            data_dir: where data sets lie; ``JOULELAB_DATA`` where not given.
            scale: the share of the work that a miniature of the study does, between 0 and 1; what
                `overrides` set is not thinned.

        Raises:
            UsageError: the study file has a mistake; says where.
        """
        spec = load_spec(study, overrides, plugins, scale)
        return cls(spec, Path(data_dir).expanduser() if data_dir else None)

    def plan(self) -> Plan:
        """Every run in order; nothing is trained and nothing is read but the study file.

        Raises:
            SpecError: an experiment excludes everything.
        """
        return make_plan(self.spec)

    def predict(self, listener: Listener | None = None) -> tuple[Plan, Prediction]:
        """Predict time and energy of every run by training a few steps of each network.

        Raises:
            JoulelabError: the study cannot be run here.
        """
        listener = listener or Listener()
        plan = self.plan()
        listener.laid_out(self.spec, plan, {})
        with self._recorder() as recorder:
            bench = Bench(self.spec, self.data_dir, recorder, listener)
            bench.load(plan.configurations)
            bench.measure_idle()

            def parts(job: Job) -> Sequence[TrainingTask]:
                if bench.executor.prepare(job).state == "interrupted":
                    raise KeyboardInterrupt
                return bench.executor.split(job)

            def run(job: Job) -> Outcome:
                outcome = bench.executor.run(job, lambda _: None)
                if outcome.state == "interrupted":
                    raise KeyboardInterrupt
                return outcome

            prediction = bench.predict(plan.configurations, parts, run, PLAN_LONG_S)
        listener.predicted(prediction)
        return plan, prediction

    def run(self, out: str | Path, listener: Listener | None = None) -> Results:
        """Run the study, or what is left of it, into a folder.

        Args:
            out: the results folder; created where it does not exist.
            listener: hears what happens.

        Returns:
            The results. Runs that raised are in it as failed; `Results.failed` counts them.

        Raises:
            KeyboardInterrupt: after what was under way has been booked; call again to go on.
            JoulelabError: the study cannot be run, or the folder cannot be used.
        """
        listener = listener or Listener()
        folder = Path(out).expanduser()
        plan = self.plan()
        with Store.open(folder, self.spec.to_toml()) as store:
            states = store.states()
            listener.laid_out(self.spec, plan, states)
            if not all(states.get(run.run_id) in DONE for run in plan.runs):
                self._session(plan, store, listener)
        return Results.open(folder)

    def _session(self, plan: Plan, store: Store, listener: Listener) -> None:
        """What one process does: everything from measuring idle power to measuring it again."""
        with ExitStack() as stack:
            recorder = stack.enter_context(self._recorder())
            setup = recorder.open("setup")
            started_at = time.time()
            bench = Bench(self.spec, self.data_dir, recorder, listener)
            bench.load(plan.configurations)
            now = {
                **conditions(
                    self.spec, bench.device, bench.threads, bench.data_description(), recorder
                ),
                "engines": bench.engines.to_dict(),
            }
            manifest = store.manifest()
            if manifest:
                check_unchanged(manifest, now)
            if not self.spec.mix_engines:
                check_same_engine(store.folder, manifest, store.engines(), bench.engines)
            store.plan(plan.runs)
            ledger = Ledger(store, recorder, bench.domains, bench.device.domain)
            ledger.adopt("setup", setup)
            sessions = [
                *manifest.get("sessions", []),
                new_session(ledger.session, started_at, now),
            ]
            engines = now["engines"]
            store.write_manifest({**now, **manifest, "engines": engines, "sessions": sessions})
            stack.callback(ledger.close)

            ledger.switch("idle")
            sessions[-1]["idle_before_w"] = bench.measure_idle()
            ledger.switch("between")
            runner = Runner(self.spec, plan, store, ledger, bench, listener)
            listener.predicted(
                bench.predict(runner.left(), runner.parts, runner.calibrate, RUN_LONG_S)
            )
            runner.run()
            ledger.switch("idle")
            sessions[-1]["idle_after_w"] = bench.measure_idle()
            ledger.close()
            sessions[-1]["ended_at"] = time.strftime("%Y-%m-%dT%H:%M:%S%z")
            store.write_manifest({**store.manifest(), "sessions": sessions})

    def _recorder(self) -> Recorder:
        energy = self.spec.energy
        names = None if energy.meters == "auto" else list(energy.meters)
        settings = {"estimate": {"tdp_w": energy.tdp_w}} if energy.tdp_w else {}
        return open_recorder(names, interval_s=energy.interval_s, settings=settings)
