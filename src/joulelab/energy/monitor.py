"""Meters that a user opens and closes, and blocks of code measured with them."""

from __future__ import annotations

from joulelab.energy.measured_block import Measuring
from joulelab.energy.open_meters import OpenMeters


class Monitor(OpenMeters):
    """Open meters that measure blocks of code: ``with Monitor(...) as monitor``.

    `joulelab.measure` opens meters for each set of options and keeps them until the program ends;
    create a monitor to control when meters are opened and closed.

    Args:
        options: see `joulelab.energy.options.Options`.

    Raises:
        MeterError: a named meter cannot read anything; with ``strict``, nothing can be measured.
        UsageError: unknown meter, setting or place.
    """

    def measure(self, label: str = "") -> Measuring:
        """Measure a block of code with this monitor; see `joulelab.energy.measuring.measure`.

        Args:
            label: what is measured, for the result.
        """
        return Measuring(lambda: self, label)

    def __enter__(self) -> Monitor:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
