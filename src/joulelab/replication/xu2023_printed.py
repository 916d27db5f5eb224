"""What Xu et al. print: "Energy Efficiency of Training Neural Network Architectures".

HICSS 2023. The statistics of place and architecture, and the mean energies, are those of the
authors' published analysis; intensities and the ratio of the instruments are the paper's. All but
the means are over both data sets together: 45 trainings of five files (no MNIST in Taipei), and 18
trainings that both instruments have read.
"""

from __future__ import annotations

from joulelab.replication.published import Published

CIFAR, MNIST, ALL = "cifar10", "mnist", "all"
DATASETS = (CIFAR, MNIST)
ARCHITECTURES = ("VGG16", "VGG19", "ResNet50")
OREGON, SOUTH_CAROLINA, TAIPEI = "oregon", "south-carolina", "taipei"
REGIONS = (OREGON, SOUTH_CAROLINA, TAIPEI)
TRAININGS, BOTH_INSTRUMENTS = 45, 18

AS_THEY_STAND = "Readings as they stand"
PER_TRAINING = "Readings per training"
MEAN = "Mean energy of a training, kWh"
INTENSITY = "Carbon intensity, kg/kWh"
INSTRUMENTS = "CodeCarbon / wattmeter"
SOUND = "CodeCarbon / wattmeter, sound readings"
RATIO = (0.50, 0.59)
"""The printed range of the ratio of the instruments."""

STATISTICS = {
    "energy.architecture.H": "24.798",
    "energy.architecture.p": "0.000004122",
    "emissions.architecture.H": "14.725",
    "emissions.architecture.p": "0.0006345",
    "energy.region.H": "0.85894",
    "energy.region.p": "0.6509",
    "emissions.region.H": "15.51",
    "emissions.region.p": "0.0004285",
    "energy.dataset.point_biserial": "-0.4135347",
    "emissions.dataset.point_biserial": "-0.06056355",
}
"""Kruskal-Wallis and point-biserial correlation, by cell."""
INTENSITIES = {OREGON: "0.139", SOUTH_CAROLINA: "0.286", TAIPEI: "0.533"}
# By data set and region: VGG16, VGG19, ResNet50.
_MEANS = """
cifar10  oregon          0.058334  0.049371  0.105779
cifar10  south-carolina  0.066715  0.057469  0.122414
cifar10  taipei          0.056720  0.063786  0.134730
mnist    oregon          0.087921  0.093217  0.189305
mnist    south-carolina  0.092033  0.113731  0.217112
"""


def statistics(table: str) -> list[Published]:
    """The printed statistics of place and architecture, as cells of a table."""
    return [Published(table, ALL, cell, text) for cell, text in STATISTICS.items()]


def intensity(region: str) -> Published:
    """The printed carbon intensity of a region."""
    return Published(INTENSITY, ALL, region, INTENSITIES[region])


def mean_cell(region: str, architecture: str) -> str:
    """The name of a cell of the mean energies.

    >>> mean_cell("taipei", "VGG19")
    'taipei.VGG19'
    """
    return f"{region}.{architecture}"


def means(dataset: str, region: str) -> list[Published]:
    """The printed mean energies of a data set in a region, architecture by architecture."""
    for line in _MEANS.strip().splitlines():
        its_dataset, its_region, *texts = line.split()
        if (its_dataset, its_region) == (dataset, region):
            return [
                Published(MEAN, dataset, mean_cell(region, architecture), text)
                for architecture, text in zip(ARCHITECTURES, texts, strict=True)
            ]
    return []
