"""Energy of scikit-learn: ``MeasuredEstimator(estimator).fit(x, y).measurement_.energy_j``."""

from __future__ import annotations

from typing import Any, Self

from joulelab.energy.measuring import measure
from joulelab.optional import optional

_base: Any = optional("sklearn.base", "joulelab.callbacks.sklearn")


class MeasuredEstimator(_base.MetaEstimatorMixin, _base.BaseEstimator):  # type: ignore[misc]
    """An estimator whose `fit` is measured; otherwise it behaves as the one inside.

    Args:
        estimator: any; it is cloned before it is fitted.
        meters: as of `joulelab.measure`.
        place: likewise.

    Attributes:
        estimator_: fitted.
        measurement_: of `fit`; of several ranks on a node one measures, and the others say so.
    """

    def __init__(
        self,
        estimator: Any,  # noqa: ANN401
        meters: list[str] | None = None,
        place: str | float | None = None,
    ) -> None:
        self.estimator = estimator
        self.meters = meters
        self.place = place

    def fit(self, x: Any, y: Any = None, **given: Any) -> Self:  # noqa: ANN401
        """Fit a clone, and measure that."""
        self.estimator_ = _base.clone(self.estimator)
        label = type(self.estimator).__name__
        with measure(label, gather=False, meters=self.meters, place=self.place) as measured:
            self.estimator_.fit(x, y, **given)
        self.measurement_ = measured.result
        return self

    def __sklearn_tags__(self) -> Any:  # noqa: ANN401
        return self.estimator.__sklearn_tags__()

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "estimator_")

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401 - whatever the estimator has
        own = self.__dict__
        if name == "estimator_" or name.startswith("__") or "estimator" not in own:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return getattr(own.get("estimator_", own["estimator"]), name)
