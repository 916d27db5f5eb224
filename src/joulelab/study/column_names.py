"""Column names of the results that are taken, and those that factors and values may have.

The table of runs has the columns of the schema, then one for each factor and for each value that
a workload returns. Some columns of the schema are empty unless a factor or value fills them.
"""

from __future__ import annotations

from joulelab.study.schema import RUN_COLUMNS

HYPERPARAMETERS = ("learning_rate", "beta1", "beta2", "epsilon", "weight_decay")
UTILISATION = ("p5", "p25", "p50", "p75", "p95", "source", "reason")
COLUMNS = frozenset(
    {
        *RUN_COLUMNS,
        *(f"utilisation_{name}" for name in UTILISATION),
        "flops_reason",
        "energy_flags",
    }
)
FACTORS = frozenset({"dataset", "engine", "precision", "protocol", "hyperparameters"})
"""Columns that a factor may fill."""
NUMBERS = frozenset({"train_loss", "steps", "parameters", "flops"})
"""Columns that a number may fill if the workload leaves them empty."""
VALUES = NUMBERS | {"accuracy"}
"""Columns that a value may fill."""
