"""Estimators of scikit-learn on handwritten digits: what does a better one cost?"""

from sklearn.datasets import load_digits
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import SVC

import joulelab

ESTIMATORS = {
    "logistic regression": LogisticRegression(max_iter=200),
    "nearest neighbours": KNeighborsClassifier(),
    "random forest": RandomForestClassifier(),
    "support vectors": SVC(),
}


def train(estimator: str, share: float, seed: int) -> dict[str, float]:
    """The accuracy of an estimator trained on a share of the images."""
    images, labels = load_digits(return_X_y=True)
    x, test_x, y, test_y = train_test_split(
        images / 16, labels, test_size=0.25, random_state=seed % 2**32
    )
    few = int(share * len(x))
    model = ESTIMATORS[estimator]
    if "random_state" in model.get_params():
        model.set_params(random_state=seed % 2**32)
    with joulelab.phase("training"):
        model.fit(x[:few], y[:few])
    with joulelab.phase("evaluation"):
        return {"accuracy": model.score(test_x, test_y)}
