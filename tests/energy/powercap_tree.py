"""A powercap tree as Linux lays it out, in a temporary folder, whose counters a test moves."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

INTEL_RANGE_UJ = 262_143_328_850
AMD_RANGE_UJ = 65_532_610_987
WIDTH = 12
"""Digits of a counter: all are written at once, so that a reader never sees half a number."""


@dataclass
class Tree:
    """A powercap tree: zones in one folder, reached by symbolic links from the class folder."""

    folder: Path
    range_uj: int = INTEL_RANGE_UJ
    zones: dict[str, Path] = field(default_factory=dict)

    @property
    def root(self) -> Path:
        return self.folder / "class" / "powercap"

    def add(self, key: str, name: str, energy_uj: int = 0) -> None:
        control = self.folder / "devices" / key.partition(":")[0]
        top = control / ":".join(key.split(":")[:2])
        zone = top if key.count(":") == 1 else top / key
        zone.mkdir(parents=True)
        (zone / "name").write_text(f"{name}\n")
        (zone / "max_energy_range_uj").write_text(f"{self.range_uj}\n")
        self.root.mkdir(parents=True, exist_ok=True)
        (self.root / key).symlink_to(zone)
        self.zones[key] = zone
        (zone / "energy_uj").touch()
        self.set(key, energy_uj)

    def set(self, key: str, energy_uj: int) -> None:
        file = os.open(self.zones[key] / "energy_uj", os.O_WRONLY)
        os.pwrite(file, f"{energy_uj:0{WIDTH}}\n".encode(), 0)
        os.close(file)

    def read(self, key: str) -> int:
        return int((self.zones[key] / "energy_uj").read_text())

    def empty(self, key: str) -> bool:
        """Whether somebody has taken the sensor away by emptying its file."""
        return not (self.zones[key] / "energy_uj").stat().st_size

    def advance(self, energy_uj: int = 1_000_000) -> None:
        for key in self.zones:
            self.set(key, (self.read(key) + energy_uj) % self.range_uj)

    @contextmanager
    def flowing(self, power_w: Mapping[str, float]) -> Iterator[None]:
        """Energy flows into the counters of these zones while the block runs."""
        done = threading.Event()
        first = {key: self.read(key) for key in power_w}
        start_s = time.monotonic()

        def flow() -> None:
            while not done.wait(0.002):
                passed_s = time.monotonic() - start_s
                for key, watts in power_w.items():
                    if self.empty(key):
                        continue
                    self.set(key, (first[key] + int(watts * passed_s * 1e6)) % self.range_uj)

        thread = threading.Thread(target=flow)
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()
