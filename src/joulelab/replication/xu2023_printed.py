"""What Xu et al. print: "Energy Efficiency of Training Neural Network Architectures".

HICSS 2023. The statistics of place and architecture are those that the authors' published analysis
prints, to all its digits; intensities and the ratio of the instruments are the paper's. All are
over both data sets together: 45 trainings of five files (no MNIST in Taipei), and 18 trainings that
both instruments have read.
"""

from __future__ import annotations

from joulelab.replication.published import Published

CIFAR, MNIST, ALL = "cifar10", "mnist", "all"
DATASETS = (CIFAR, MNIST)
OREGON, SOUTH_CAROLINA, TAIPEI = "oregon", "south-carolina", "taipei"
REGIONS = (OREGON, SOUTH_CAROLINA, TAIPEI)
TRAININGS, BOTH_INSTRUMENTS = 45, 18

AS_THEY_STAND = "Readings as they stand"
PER_TRAINING = "Readings per training"
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
LESS = "< 1.000"
"""The paper prints no such figure; it holds that CodeCarbon reads less than the wattmeter."""


def statistics(table: str) -> list[Published]:
    """The printed statistics of place and architecture, as cells of a table."""
    return [Published(table, ALL, cell, text) for cell, text in STATISTICS.items()]


def intensity(region: str) -> Published:
    """The printed carbon intensity of a region."""
    return Published(INTENSITY, ALL, region, INTENSITIES[region])
