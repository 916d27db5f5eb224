"""What a session works with on this machine: device, images, executor."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

from joulelab.energy.recorder import Recorder
from joulelab.errors import SpecError, TrainingError
from joulelab.learning.engine import Hyperparameters, Member, TrainingTask
from joulelab.learning.images import Images
from joulelab.learning.networks import verify_buildable
from joulelab.study.design import Configuration
from joulelab.study.device import Device, available_threads, find_device
from joulelab.study.engine_choice import EngineChoice, choose_engines
from joulelab.study.executor import ImagesRequest, Job, LocalExecutor, Outcome
from joulelab.study.listener import Listener
from joulelab.study.prediction import Prediction, predict
from joulelab.study.spec import StudySpec


class Bench:
    """Device, images and executor of one session; `load` before anything else.

    Args:
        spec: the study.
        data_dir: the folder with data sets.
        recorder: started.
        listener: hears what happens.
    """

    device: Device
    images: Images
    executor: LocalExecutor
    engines: EngineChoice

    def __init__(
        self, spec: StudySpec, data_dir: Path | None, recorder: Recorder, listener: Listener
    ) -> None:
        self._spec = spec
        self._recorder = recorder
        self._listener = listener
        self._request = ImagesRequest(
            spec.dataset,
            str(data_dir) if data_dir else None,
            None if spec.train_images == "all" else spec.train_images,
            None if spec.test_images == "all" else spec.test_images,
            spec.seed,
        )
        self.domains = None if spec.energy.domains == "auto" else list(spec.energy.domains)
        self.threads = available_threads() if spec.threads == "auto" else spec.threads

    def load(self, configurations: Sequence[Configuration]) -> None:
        """Find the device, load the images, see that every network fits, and choose the engines.

        Raises:
            DatasetError: the images cannot be had.
            SpecError: no such device, a network that does not fit these images, or a precision
                that is not possible.
        """
        self._listener.doing(f"loading torch and the data set {self._spec.dataset}")
        self.device = find_device(self._spec.device)
        self.executor = LocalExecutor(
            self._recorder,
            self.device.domain,
            self._spec.energy.cool_down_s,
            self._listener.doing,
        )
        self._check_domains()
        self.images = self.executor.images(self._request)
        self._listener.loaded(self.images)
        for one in configurations:
            try:
                verify_buildable(
                    one.network, self.images.shape, self.images.classes, one.network_options
                )
            except TrainingError as error:
                where = f"{one.experiment}: {one.name}"
                raise SpecError(f"{where}: {error.message}", error.hint) from error
        self.engines = choose_engines(
            configurations,
            self._spec.engine,
            self._spec.precision,
            lambda one: self.executor.obstacle(self._group_job(one, self._spec.engine)),
            mix=self._spec.mix_engines,
        )
        self._listener.engines_chosen(self.engines)

    def _check_domains(self) -> None:
        readable = {channel.domain for channel in self._recorder.channels}
        for domain in self.domains or ():
            if domain not in readable:
                raise SpecError(
                    f"energy.domains names {domain!r}, which cannot be read here",
                    f"readable: {', '.join(sorted(readable)) or 'nothing'}",
                )

    def job(self, configuration: Configuration, members: Sequence[Member], label: str) -> Job:
        """The job for some trainings of a configuration, by the engine that was chosen for it."""
        return self._job(configuration, members, label, self.engines.of(configuration))

    def group_job(self, configuration: Configuration) -> Job:
        """A job as large as the groups of a configuration, which belongs to no run."""
        return self._group_job(configuration, self.engines.of(configuration))

    def _group_job(self, configuration: Configuration, engine: str) -> Job:
        rounds = configuration.rounds_at_once(self._spec.rounds_together)
        seeds = range(rounds * configuration.repetitions)
        members = [self.member(configuration, {}, seed) for seed in seeds]
        return self._job(configuration, members, "calibration", engine)

    def _job(
        self, configuration: Configuration, members: Sequence[Member], label: str, engine: str
    ) -> Job:
        task = TrainingTask(
            network=configuration.network,
            network_options=dict(configuration.network_options),
            protocol=self._spec.protocol,
            epochs=self._spec.epochs,
            batch_size=self._spec.batch_size,
            members=tuple(members),
            precision=self._spec.precision,
        )
        return Job(label, task, self._request, engine, self.device.name, self.threads)

    def member(self, configuration: Configuration, values: Mapping[str, Any], seed: int) -> Member:
        """One training of a configuration with these values of what is searched."""
        known = {field.name for field in fields(Hyperparameters)}
        given = {**configuration.fixed, **values}
        return Member(seed, Hyperparameters(**{k: v for k, v in given.items() if k in known}))

    def data_description(self) -> dict[str, Any]:
        """What the manifest says of the data."""
        shape = self.images.shape
        return {
            "name": self._spec.dataset,
            "source": self.images.source,
            "train_images": len(self.images.train),
            "test_images": len(self.images.test),
            "train_images_of": self.images.available[0],
            "test_images_of": self.images.available[1],
            "shape": [shape.channels, shape.height, shape.width],
            "classes": self.images.classes,
            "checksum": self.images.checksum(),
        }

    def measure_idle(self) -> dict[str, float]:
        """Idle power in watts by domain; empty where the study wants none."""
        if not self._spec.energy.idle_s:
            return {}
        self._listener.doing(f"measuring idle power for {self._spec.energy.idle_s:g} s")
        return dict(self._recorder.measure_idle(self._spec.energy.idle_s))

    def predict(
        self,
        configurations: Sequence[Configuration],
        parts: Callable[[Job], Sequence[TrainingTask]],
        run: Callable[[Job], Outcome],
        long_s: float,
    ) -> Prediction:
        """Predict time and energy by training a few steps of every network.

        Args:
            configurations: those that have runs left.
            parts: prepares for a group and splits it.
            run: carries a job out, and books it.
            long_s: see `joulelab.study.prediction.predict`.
        """
        self._listener.doing("training a few steps of every network, to predict time and energy")
        return predict(
            configurations,
            self.group_job,
            parts,
            run,
            (len(self.images.train), len(self.images.test)),
            self.domains,
            self.device.domain,
            long_s,
        )
