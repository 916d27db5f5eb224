"""The workload of inference: models are served in separate processes, one run at a time.

::

    load ─ per run:  prepare (load the model, warm it up) ─ attempt (a window)
                       └ booked as calibration               └ booked as serving
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from functools import partial
from typing import Any, cast

import numpy as np

from joulelab.errors import SpecError, StoreMismatchError, UsageError
from joulelab.kinds.inference.executor import ServingExecutor, ServingJob
from joulelab.kinds.inference.images import RequestImages
from joulelab.kinds.inference.models import Model, find_model
from joulelab.kinds.inference.prediction import ModelProfile, predict, profile_model
from joulelab.kinds.inference.spec import InferenceConfiguration, WindowConfiguration
from joulelab.serving.arrivals import parse_arrivals
from joulelab.serving.results import Batches, Served
from joulelab.serving.summary import (
    batch_histogram,
    producer_in_words,
    saturation_in_words,
    summary,
)
from joulelab.serving.tasks import ServingTask
from joulelab.study.design import Configuration
from joulelab.study.executor import Outcome
from joulelab.study.listener import WorkloadSummary
from joulelab.study.manifest import check_same_weights
from joulelab.study.plan import Group
from joulelab.study.planned_run import PlannedRun
from joulelab.study.prediction import Prediction
from joulelab.study.runner import Calibrator, Row, RunRecorder, Table
from joulelab.study.session import Session
from joulelab.study.store_reading import REQUESTS
from joulelab.study.workload import Begun, Workload

KIND = "serving"
"""Kind of its entries in the ledger."""


class InferenceWorkload(Workload):
    """Serves the runs of a study."""

    def __init__(self, session: Session) -> None:
        super().__init__(session)
        self._executor = session.executor(ServingExecutor)
        self._images = RequestImages(session.data_dir, session.spec.seed)
        self._configurations: Sequence[InferenceConfiguration] = ()
        self._profiles: dict[tuple[Any, ...], ModelProfile] = {}

    def close(self) -> None:
        """End the processes, and remove written images."""
        self._executor.close()
        self._images.close()

    def load(self, configurations: Sequence[Configuration]) -> WorkloadSummary:
        """Find every model and every image.

        Raises:
            SpecError: a model, or an image, that does not exist.
            DatasetError: images or weights are missing.
        """
        self.session.listener.doing("loading models and images")
        self._configurations = cast(Sequence[InferenceConfiguration], configurations)
        for one in self._configurations:
            try:
                task = self._job(one, 0).task
                task.check()
            except UsageError as error:
                raise SpecError(f"{one.title}: {error.message}", error.hint) from error
        return self._summary()

    def _summary(self) -> WorkloadSummary:
        mine = self._configurations
        models = list(dict.fromkeys(one.model for one in mine))
        found = {one.model: self._model(one) for one in mine}
        random = [name for name in models if found[name].is_random]
        remark = None
        if random:
            which = "all models" if len(random) == len(models) else ", ".join(random)
            remark = (
                f"{which} have random weights, because pretrained ones are not on this machine: "
                "energy and time do not depend on the weights"
            )
        names = ", ".join(dict.fromkeys(one.images.name for one in mine))
        return WorkloadSummary(
            means=f"{len(models)} model{'s' * (len(models) != 1)} served on "
            f"{self.session.device.name}",
            noun="window",
            extent=f"of {_extent(mine)}, images: {names}",
            basis="a few batches of each model and a simulation of the queue",
            remark=remark,
            data={"weights": {name: one.weights for name, one in found.items()}},
        )

    def conditions(self) -> dict[str, Any]:
        """The images with their checksum, and the weights of the models."""
        names = list(dict.fromkeys(one.images.name for one in self._configurations))
        return {
            "images": {
                "names": names,
                "files": sum(len(self._images.files(name)) for name in names),
                "checksum": self._images.checksum(names),
            },
            "weights": {one.model: self._model(one).weights for one in self._configurations},
        }

    @classmethod
    def check_unchanged(cls, begun: Begun, now: Mapping[str, Any]) -> None:
        """Refuse changed images or weights."""
        before = begun.manifest.get("images")
        if before and before["checksum"] != now["images"]["checksum"]:
            raise StoreMismatchError(
                f"the images {', '.join(now['images']['names'])} differ from those that the study "
                "began with",
                "continue with the same images, or choose another folder with --out",
            )
        check_same_weights(begun.manifest, now["weights"])

    def predict(
        self, configurations: Sequence[Configuration], calibrator: Calibrator, *, brief: bool
    ) -> Prediction:
        """Time a few batches of every model, and simulate the rest."""
        self.session.listener.doing("timing a few batches of every model, to predict the rest")

        def profile(one: InferenceConfiguration) -> ModelProfile:
            key = (one.model, one.weights, one.images, type(one))
            if key not in self._profiles:
                job = self._job(one, 0)
                self._profiles[key] = profile_model(
                    job, self._executor, calibrator, self.session.counted
                )
            return self._profiles[key]

        mine = cast(Sequence[InferenceConfiguration], configurations)
        return predict(mine, profile, self._job)

    def run(self, group: Group, pending: Sequence[PlannedRun], recorder: RunRecorder) -> None:
        """Load the model, warm it up, and serve each run."""
        one = cast(InferenceConfiguration, group.configuration)
        for run in pending:
            job = self._job(one, run.seed)
            recorder.prepare(self._executor, job)
            rows = partial(_rows, one, self._model(one), job.task.images.crop)
            recorder.attempt(KIND, self._executor, job, [run], rows, REQUESTS_TABLE)

    def _model(self, one: InferenceConfiguration) -> Model:
        return find_model(one.model, one.weights)

    def _job(self, one: InferenceConfiguration, seed: int) -> ServingJob:
        task = one.task(self._model(one), self._images.files(one.images.name), seed)
        if isinstance(task, ServingTask):
            task = replace(task, plugins=tuple(self.session.spec.plugins))
        return ServingJob(one.title, self.session.device.name, self.session.threads, task)


def _rows(
    one: InferenceConfiguration, model: Model, image_px: int, outcome: Outcome[Served | Batches]
) -> list[Row]:
    """The columns of one run, from the outcome of its window."""
    figures = model.figures(image_px)
    common: Row = {"dataset": one.images.name, "parameters": figures.get("parameters")}
    result = outcome.result
    if result is None:
        return [common]
    if isinstance(result, Served):
        values = _of_window(one, result)
        images = values["answered"]
    else:
        values = _of_batches(result)
        images = values["images"]
    each = figures.get("flops_per_image")
    metrics = {
        "values": {**figures, **values},
        **({} if each else {"flops_reason": "not counted for custom models"}),
    }
    return [{**common, "flops": images * each if each else None, "metrics": json.dumps(metrics)}]


def _of_window(one: InferenceConfiguration, served: Served) -> dict[str, Any]:
    if not isinstance(one, WindowConfiguration):
        raise TypeError(f"{one.name} is not a window of requests")
    offered = parse_arrivals(one.arrivals).rate_per_s
    limit = {"limit_s": one.limit_s, "limit_percentile": one.limit_percentile}
    return {
        **summary(served, offered),
        "saturation": saturation_in_words(served, offered),
        "producer": producer_in_words(served),
        "remarks": "; ".join(served.remarks),
        "batch_histogram": json.dumps(dict(batch_histogram(served))),
        **(limit if one.limit_s is not None else {}),
    }


def _of_batches(batches: Batches) -> dict[str, Any]:
    durations = np.asarray(batches.durations_s)
    count = len(durations)
    return {
        "images": int(count * batches.size),
        "batches": count,
        "batch_used": batches.size,
        "batch_s": float(durations.mean()),
        "batch_p99_s": float(np.percentile(durations, 99)),
        "throughput_per_s": float(count * batches.size / durations.sum()),
        "remarks": "; ".join(batches.remarks),
    }


def _requests(result: Served | Batches) -> Mapping[str, Any] | None:
    """One row per request, as columns; ``None`` without a queue."""
    if not isinstance(result, Served):
        return None
    columns = asdict(result)
    names = ("due_s", "sent_s", "started_s", "answered_s", "batch", "dropped")
    return {name: columns[name] for name in names}


def _extent(configurations: Sequence[InferenceConfiguration]) -> str:
    counts = {one.requests for one in configurations if isinstance(one, WindowConfiguration)}
    parts = [f"{count:,} requests" for count in sorted(counts)]
    if len(configurations) > sum(isinstance(one, WindowConfiguration) for one in configurations):
        parts.append("batches")
    return " or ".join(parts)


REQUESTS_TABLE = Table(REQUESTS, _requests)
