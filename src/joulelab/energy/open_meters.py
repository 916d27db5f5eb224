"""Open meters, with all that turns what their recorder has read into a measurement."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import NoReturn, Unpack

from joulelab.energy.booking import Booking
from joulelab.energy.detection import open_recorder
from joulelab.energy.lock import devices_of
from joulelab.energy.measurement import Measurement
from joulelab.energy.meter import Hidden
from joulelab.energy.occupation import KEPT_S, Occupation
from joulelab.energy.options import Options, check_options
from joulelab.energy.reading import Status
from joulelab.energy.recorder import DEFAULT_INTERVAL_S, Recorder, Window
from joulelab.errors import MeterError


class OpenMeters:
    """Open meters, and the annotation of their measurements.

    Args:
        options: see `joulelab.energy.options.Options`.

    Attributes:
        domains: those that count; None for all known ones.
        booking: of CO2e; None where the place is unknown.
        recorder: samples the meters.
        occupation: holds the devices while windows are open.

    Raises:
        MeterError: a named meter cannot read anything; with ``strict``, nothing can be measured.
        UsageError: unknown meter, setting or place.
    """

    def __init__(self, **options: Unpack[Options]) -> None:
        check_options(options)
        domains = options.get("domains")
        domains = [domains] if isinstance(domains, str) else domains
        self.domains = None if domains is None else tuple(domains)
        self.booking = Booking.of(options.get("place"), options.get("pue"))
        meters, strict = options.get("meters"), options.get("strict", False)
        names = [meters] if isinstance(meters, str) else meters
        self.recorder = open_recorder(
            names,
            interval_s=options.get("interval_s", DEFAULT_INTERVAL_S),
            settings=options.get("settings"),
            estimates=not strict,
        )
        try:
            if strict:
                check_measured(self.recorder)
            self._check_domains()
        except BaseException:
            self.recorder.close()
            raise
        self.recorder.start()
        self.occupation = Occupation(
            devices(self.recorder),
            options.get("busy", "share"),
            options.get("on_wait"),
            keep=self.recorder.interval_s <= KEPT_S,
        )
        self.recorder.when_unused = self.occupation.release_unused

    def measure_idle(self, duration_s: float = 2.0) -> dict[str, float]:
        """Measure idle power while the caller waits, so that windows have net energy.

        Args:
            duration_s: duration in seconds.

        Returns:
            Watts by domain.
        """
        return dict(self.recorder.measure_idle(duration_s))

    @property
    def devices(self) -> frozenset[str]:
        """The devices on which it measures, as far as they count."""
        return frozenset(devices(self.recorder, self.domains))

    @property
    def uuids(self) -> dict[str, str]:
        """UUIDs of the GPUs by domain, where their meter knows them."""
        about = [meter.describe() for meter in self.recorder.meters]
        return {
            key.removesuffix(" uuid"): value
            for one in about
            for key, value in one.items()
            if key.endswith(" uuid")
        }

    def hidden_from(self, environments: Sequence[Mapping[str, str]]) -> Hidden:
        """Domains that no program with one of these environments can use; they do not count.

        Args:
            environments: of the programs that are measured.
        """
        if self.domains is not None:
            return Hidden()
        gone: set[str] = set()
        notes: list[str] = []
        for meter in self.recorder.meters:
            each = [meter.hidden_from(environment) for environment in environments]
            common = frozenset.intersection(*(one.domains for one in each))
            gone |= common
            notes += [one.note for one in each if one.domains == common]
            if common and not any(one.domains == common for one in each):
                listed = ", ".join(sorted(common))
                notes.append(f"hidden from the measured program, not counted: {listed}")
        return Hidden(frozenset(gone), "; ".join(dict.fromkeys(filter(None, notes))))

    def finish(
        self,
        measurement: Measurement,
        window: Window,
        flags: Sequence[str] = (),
        hidden: Hidden | None = None,
    ) -> Measurement:
        """A measurement of this recorder completed with domains, flags and CO2e.

        Args:
            measurement: of `window`, partial or complete.
            window: its power trace gives the course of energy over time.
            flags: additional remarks on its quality.
            hidden: what does not count unless domains are named.
        """
        hidden = hidden or Hidden()
        said = [*flags, *self.occupation.others(window.started_s), hidden.note]
        whole = replace(
            measurement,
            domains=self.domains,
            flags=(*measurement.flags, *dict.fromkeys(filter(None, said))),
            left_out=tuple(sorted(hidden.domains)),
        )
        if self.booking is None:
            return whole
        return self.booking.book(whole, window.channel_samples, window.started_s)

    def close(self) -> None:
        """Close open windows and the meters."""
        self.recorder.close()
        self.occupation.release()

    def __reduce_ex__(self, _: object) -> NoReturn:
        raise MeterError(
            "a monitor has open meters and cannot be pickled or copied",
            "pickle its measurements, and open a monitor in the process that measures",
        )

    def _check_domains(self) -> None:
        known = {channel.domain for channel in self.recorder.channels}
        for domain in self.domains or ():
            if domain not in known:
                why = [one for one in self.recorder.missing if one.domain == domain]
                raise MeterError(
                    f"the domain {domain!r} cannot be read here"
                    + (f": {why[0].reason}" if why else ""),
                    (why[0].remedy if why else "") or f"available: {', '.join(sorted(known))}",
                )


def check_measured(recorder: Recorder) -> None:
    """Raise if nothing can be measured on this machine.

    Raises:
        MeterError: no channel is measured.
    """
    if not any(channel.status is Status.MEASURED for channel in recorder.channels):
        why = [f"{one.domain}: {one.reason}" for one in recorder.missing]
        raise MeterError(
            "nothing can be measured here" + (f" ({'; '.join(why)})" if why else ""),
            "`joulelab doctor` says what would help; without --strict energy is estimated",
        )


def devices(recorder: Recorder, domains: Collection[str] | None = None) -> list[str]:
    """The devices of the domains, in a fixed order to avoid deadlock.

    Args:
        recorder: whose domains are used.
        domains: only these; ``None`` for all that it reads.
    """
    return devices_of(
        [channel.domain for channel in recorder.channels] if domains is None else domains
    )
