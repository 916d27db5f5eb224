"""The trainings that a study file asks for."""

from __future__ import annotations

from joulelab.forecast.data_shape import DataShape
from joulelab.forecast.training_request import TrainingRequest
from joulelab.kinds.training.engine_choice import REFERENCE
from joulelab.kinds.training.spec import TrainingConfiguration, TrainingKeys
from joulelab.study.plan import configurations_of
from joulelab.study.spec import StudySpec


def request_of(
    spec: TrainingKeys,
    one: TrainingConfiguration,
    data: DataShape,
    engine: str = "",
    together: int | None = None,
) -> TrainingRequest:
    """One training of a configuration of a study.

    Args:
        spec: the study.
        one: its configuration.
        data: with the images that the study uses.
        engine: that trains it; the one that the study asks for where empty.
        together: trainings in a group; as many as the engine can train where not given.
    """
    engine = engine or spec.engine
    if together is None:
        # The reference engine trains one after the other.
        together = 1 if engine == REFERENCE else one.members
    return TrainingRequest(
        network=one.network,
        options=one.network_options,
        dataset=one.dataset,
        data=data,
        epochs=spec.epochs,
        batch_size=spec.batch_size,
        engine=engine,
        precision=spec.precision,
        protocol=spec.protocol,
        together=together,
    )


def trainings(spec: StudySpec) -> list[TrainingConfiguration]:
    """Every configuration of a study that trains."""
    return [
        one
        for name, experiment in spec.experiments().items()
        for one in configurations_of(spec, name, experiment)
        if isinstance(one, TrainingConfiguration)
    ]
