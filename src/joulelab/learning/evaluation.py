"""How well a network classifies test images: accuracy and macro F1, from counts by class.

Symbols: for class k, h_k images of it that were found, n_k images of it, p_k images that were said
to be of it.

    accuracy = sum_k h_k / sum_k n_k
    F1       = mean of 2 h_k / (n_k + p_k) over the classes with n_k + p_k > 0

2 h / (n + p) is the harmonic mean of precision h / p and recall h / n, so this is what
scikit-learn's ``f1_score(labels, predictions, average="macro")`` gives.
"""

from __future__ import annotations

import torch
from torch import Tensor


class Evaluation:
    """Counts, on the device and without ever waiting for it.

    Args:
        device: the one that evaluates.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._counts: Tensor | None = None  # (3, K), int64: h, n, p

    def add(self, logits: Tensor, labels: Tensor) -> None:
        """Count a batch.

        Args:
            logits: (B, K).
            labels: (B,), int64.
        """
        if self._counts is None:
            shape = (3, logits.shape[1])
            self._counts = torch.zeros(shape, dtype=torch.int64, device=self._device)
        predicted = logits.argmax(dim=1)
        hits = (predicted == labels).to(torch.int64)
        once = torch.ones_like(labels)
        # bincount would ask the device for the greatest label, and wait for the answer.
        for counts, of, values in zip(
            self._counts, (labels, labels, predicted), (hits, once, once), strict=True
        ):
            counts.index_add_(0, of, values)

    def scores(self) -> Tensor:
        """Accuracy and macro F1, each 0 to 1, float64, (2,), still on the device.

        >>> evaluation = Evaluation(torch.device("cpu"))
        >>> evaluation.add(torch.eye(3)[[0, 0, 1, 1]], torch.tensor([0, 0, 1, 0]))
        >>> accuracy, f1 = evaluation.scores().tolist()
        >>> accuracy, round(f1, 4)          # (2*2/(3+2) + 2*1/(1+2)) / 2: nothing is of class 2
        (0.75, 0.7333)

        Raises:
            ValueError: nothing has been counted.
        """
        if self._counts is None:
            raise ValueError("no batch has been counted")
        hits, labels, predicted = self._counts.double()  # (K,) each
        either = labels + predicted
        f1 = 2 * hits / either.clamp(min=1)
        return torch.stack([hits.sum() / labels.sum(), f1.sum() / (either > 0).sum()])
