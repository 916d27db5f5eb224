"""What Yarally et al. print: "Uncovering Energy-Efficient Practices in Deep Learning Training".

CAIN 2023, tables I to V and the numbers in the text. Every number is kept as it is printed; where
the paper prints one number for both data sets together, `OVER_BOTH` names the cell, and the same
number stands in the columns of the single data sets, to show what each of them gives by itself.
"""

from __future__ import annotations

from collections.abc import Iterator

from joulelab.replication.published import Published

FASHION, CIFAR, ALL = "fashion-mnist", "cifar10", "all"
DATASETS = (FASHION, CIFAR)
TUNING, ARCHITECTURE = "tuning", "architecture"
EXPERIMENTS = (TUNING, ARCHITECTURE)

_NUMBERS = (
    # table, cell, Fashion-MNIST, CIFAR-10, both together; None where the paper prints none
    ("Table I", "configurations", "18", "18", None),
    ("Table I", "rounds", "64", "64", None),
    ("Table I", "repetitions", "8", "8", None),
    ("Table I", "trainings_per_configuration", "512", "512", None),
    ("Table I", "trainings", None, None, "18,432"),
    ("Table II", "configurations", "8", "8", None),
    ("Table II", "rounds", "8", "8", None),
    ("Table II", "repetitions", "24", "24", None),
    ("Table II", "trainings", "1,536", "1,536", "3,072"),
    # "we calculate the coefficient of variance and show that it is very low"
    ("Section IV-D", "cv.limit", "< 0.01", "< 0.01", None),
    ("Section VI-A", "random_beats_grid.settings", "5", "2", None),
    ("Section VI-A", "bayesian.overtaken_by_grid.settings", "0", "2", "2"),
    ("Section VI-A", "bayesian.matched_by_random.settings", "3", "0", "3"),
    ("Section VI-A", "bayesian.mean_round", "27", "27", "27"),
    ("Section VI-A", "bayesian.outliers", "2", "0", "2"),
    ("Section VI-A", "runtime_h", None, None, "85"),
    ("Section VI-B", "runtime_h", None, None, "46"),
    ("Section VI-B", "cv.mean", "0.009", "0.009", "0.009"),
    ("Section VI-B", "cv.max", "0.018", "0.018", "0.018"),
    ("Section VI-B", "relu.mean_increase_pct", "2.7", "2.9", None),
    ("Section VI-B", "linear_layers.mean_increase_pct", "4.9", "6.6", None),
    ("Section VI-B", "conv_layers.mean_increase_pct", "95.3", "66.4", None),
    ("Section VI-B", "post_hoc.significant_pairs", "all", "all", None),
    ("Table IV", "linear_layers.H", "481.799", "496.807", None),
    ("Table IV", "linear_layers.p", "< .001", "< .001", None),
    ("Table IV", "linear_layers.eta_squared", "0.155", "0.160", None),
    ("Table IV", "linear_layers.eta_squared_k8", "0.155", "0.160", None),
    ("Table IV", "linear_layers.magnitude", "large", "large", None),
    ("Table IV", "conv_layers.H", "2303.250", "2303.250", None),
    ("Table IV", "conv_layers.p", "< .001", "< .001", None),
    ("Table IV", "conv_layers.eta_squared", "0.749", "0.749", None),
    ("Table IV", "conv_layers.eta_squared_k8", "0.749", "0.749", None),
    ("Table IV", "conv_layers.magnitude", "large", "large", None),
    ("Table IV", "relu.H", "176.545", "106.655", None),
    ("Table IV", "relu.p", "< .001", "< .001", None),
    ("Table IV", "relu.eta_squared", "0.055", "0.033", None),
    ("Table IV", "relu.eta_squared_k8", "0.055", "0.033", None),
    ("Table IV", "relu.magnitude", "small", "small", None),
    ("Table V", "E+.mean_energy_j", "1674", "4588", None),
    ("Table V", "E+.mean_accuracy", "0.872", "0.639", None),
    ("Table V", "E+.max_accuracy", "0.889", "0.725", None),
    ("Table V", "E+.std_accuracy", "0.011", "0.056", None),
    ("Table V", "E-.mean_energy_j", "857", "2758", None),
    ("Table V", "E-.mean_accuracy", "0.864", "0.572", None),
    ("Table V", "E-.max_accuracy", "0.887", "0.609", None),
    ("Table V", "E-.std_accuracy", "0.010", "0.021", None),
    ("Section VI-B", "gap.mean_accuracy_points", "< 1", "a little over 6", None),
    ("Section VI-B", "gap.max_accuracy_points", "< 1", "almost 12", None),
    ("Section VII-B", "conv_layers.mean_increase_pct.rounded", "95", None, None),
    ("Section VII-C", "gpu_load_pct", None, None, "40 to 60"),
)

# As the paper lays it out: optimum accuracy with 5 and with 3 hyperparameters, then the round.
_TABLE_III = """
                        CIFAR-10                     Fashion-MNIST
                        accuracy      rounds         accuracy         rounds
DensePolyNN    random   0.33   0.32   56   27        0.826   0.83     56   27
DensePolyNN    grid     0.37   0.40   42   55        0.81    0.81     40   19
DensePolyNN    bayesian 0.40   0.41   27   11        0.833   0.85     29   46
DenseLinearNN  random   0.35   0.38   50   63        0.81    0.84     52   23
DenseLinearNN  grid     0.40   0.40   53   35        0.81    0.81     30   54
DenseLinearNN  bayesian 0.37   0.39    4   38        0.84    0.85     18   47
SimpleCNN      random   0.60   0.62   40    4        0.8879  0.879    29   39
SimpleCNN      grid     0.58   0.59   17   55        0.86    0.875    14   20
SimpleCNN      bayesian 0.68   0.66   16   26        0.8876  0.884    20   36
"""

OVER_BOTH = frozenset({"cv.mean", "cv.max", "bayesian.mean_round"})

EXPERIMENT_OF = {
    "Table I": TUNING,
    "Table II": ARCHITECTURE,
    "Table III": TUNING,
    "Table IV": ARCHITECTURE,
    "Table V": ARCHITECTURE,
    "Section IV-D": ARCHITECTURE,
    "Section VI-A": TUNING,
    "Section VI-B": ARCHITECTURE,
    "Section VII-B": ARCHITECTURE,
    "Section VII-C": ARCHITECTURE,
}
"""The experiment that the numbers of a table or section are about."""


def optimum_cell(network: str, strategy: str, hyperparameters: int, what: str) -> str:
    """The name of a cell of Table III.

    >>> optimum_cell("SimpleCNN", "bayesian", 5, "accuracy")
    'SimpleCNN.bayesian.5.accuracy'
    """
    return f"{network}.{strategy}.{hyperparameters}.{what}"


def printed() -> list[Published]:
    """Every printed number: the tables, then the text; of each, one data set after the other."""
    numbers = [*_table_iii()]
    for table, cell, *texts in _NUMBERS:
        for dataset, text in zip((FASHION, CIFAR, ALL), texts, strict=True):
            if text is not None:
                numbers.append(Published(table, dataset, cell, text))
    tables = list(EXPERIMENT_OF)
    order = (FASHION, CIFAR, ALL)
    return sorted(numbers, key=lambda one: (tables.index(one.table), order.index(one.dataset)))


def _table_iii() -> Iterator[Published]:
    for line in _TABLE_III.strip().splitlines()[2:]:
        network, strategy, *texts = line.split()
        for dataset, four in ((CIFAR, texts[:4]), (FASHION, texts[4:])):
            for what, (five, three) in (("accuracy", four[:2]), ("round", four[2:])):
                for hyperparameters, text in ((5, five), (3, three)):
                    cell = optimum_cell(network, strategy, hyperparameters, what)
                    yield Published("Table III", dataset, cell, text, what == "accuracy")
