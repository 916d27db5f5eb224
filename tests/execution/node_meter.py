"""A sensor of the whole node, found by every process that has its folder among those of packages.

It reads what a node of constant power has used, whoever asks and however late: what all that
ran there took is known to the joule.
"""

import time
from pathlib import Path

from joulelab.energy.meter import Channel, Meter, Sample
from joulelab.energy.reading import Status

WATTS = 400.0
ENTRY = "[joulelab.meters]\nnode = node_meter:NodeDetector\n"


class NodeMeter(Meter):
    name = "node"
    channels = (Channel("cpu:0", "node", "counter", Status.MEASURED, 0.0, 0.0),)

    def sample(self):
        return [Sample(WATTS * time.monotonic())]

    def close(self):
        """Nothing is open."""


class NodeDetector:
    """Of the meter of the tests."""

    def detect(self):
        return [NodeMeter()], []


def install(folder):
    """Make a package of this file in a folder, as an installer would.

    Args:
        folder: for ``PYTHONPATH``.
    """
    about = folder / "node_meter-1.dist-info"
    about.mkdir(parents=True)
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: node-meter\nVersion: 1\n")
    (about / "entry_points.txt").write_text(ENTRY)
    (folder / "node_meter.py").write_text(Path(__file__).read_text())
