"""The energy of scikit-learn's fits."""

import copy
import pickle

import pytest
from sklearn.base import clone, is_classifier
from sklearn.datasets import load_digits
from sklearn.linear_model import RidgeClassifier
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from joulelab.callbacks.sklearn import MeasuredEstimator


@pytest.fixture(scope="module")
def digits():
    return load_digits(return_X_y=True)


def test_a_fit_is_measured_and_the_rest_is_as_it_was(digits):
    plain = RidgeClassifier().fit(*digits)
    inner = RidgeClassifier()
    wrapped = MeasuredEstimator(inner).fit(*digits)

    assert wrapped.measurement_.energy_j > 0
    assert wrapped.measurement_.label == "RidgeClassifier"
    assert (wrapped.predict(digits[0]) == plain.predict(digits[0])).all()
    assert wrapped.score(*digits) == plain.score(*digits)
    assert (wrapped.classes_ == plain.classes_).all()
    assert not hasattr(inner, "coef_")  # a clone was fitted
    assert is_classifier(wrapped)


def test_what_the_estimator_lacks_the_wrapper_lacks():
    wrapped = MeasuredEstimator(StandardScaler())
    assert hasattr(wrapped, "transform")
    assert not hasattr(wrapped, "predict")
    assert not hasattr(wrapped, "measurement_")


def test_it_is_cloned_searched_and_part_of_pipelines(digits):
    wrapped = MeasuredEstimator(RidgeClassifier(), place="NLD")
    assert clone(wrapped).place == "NLD"
    pipeline = make_pipeline(StandardScaler(), wrapped).fit(*digits)
    assert pipeline[-1].measurement_.co2e_g > 0
    assert cross_val_score(wrapped, *digits, cv=2).mean() > 0.8
    search = GridSearchCV(wrapped, {"estimator__alpha": [0.1, 10.0]}, cv=2).fit(*digits)
    assert search.best_params_["estimator__alpha"] == search.best_estimator_.estimator.alpha
    assert search.best_estimator_.measurement_.energy_j > 0


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))])
def test_a_copy_has_what_was_fitted_and_measured(digits, copied):
    wrapped = MeasuredEstimator(RidgeClassifier())
    assert not hasattr(copied(wrapped), "measurement_")
    again = copied(wrapped.fit(*digits))
    assert again.measurement_ == wrapped.measurement_
    assert (again.predict(digits[0]) == wrapped.predict(digits[0])).all()
