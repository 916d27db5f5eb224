"""The resources of a session, independent of the workload: device, meters, threads."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from joulelab.energy.measurement import Measurement
from joulelab.energy.reading import Total, family
from joulelab.energy.recorder import Recorder
from joulelab.errors import SpecError, quoted
from joulelab.study.accounting import counted, devices_read
from joulelab.study.device import Device, available_threads, find_device
from joulelab.study.executor import Executor
from joulelab.study.listener import Listener
from joulelab.study.spec import StudySpec

Made = TypeVar("Made", bound=Executor[Any, Any])


class Session:
    """Device and meters of one session.

    Args:
        spec: the study.
        data_dir: the folder with data sets.
        recorder: started.
        listener: hears what happens.
        folder: the results folder; ``None`` where nothing is stored.
        alone: whether no other process carries out runs of the study now.

    Attributes:
        device: the device that does the work.
        domains: energy domains that count; ``None`` for the automatic choice.
        devices: whose sensors are in the energy of a run; it holds the locks of all of them.
        threads: torch's threads on the CPU.
        executors: made so far.

    Raises:
        SpecError: the device does not exist, or a domain cannot be read here.
    """

    def __init__(
        self,
        spec: StudySpec,
        data_dir: Path | None,
        recorder: Recorder,
        listener: Listener,
        folder: Path | None = None,
        *,
        alone: bool = True,
    ) -> None:
        self.spec = spec
        self.alone = alone
        self.folder = folder
        self.data_dir = data_dir
        self.recorder = recorder
        self.listener = listener
        self.domains = None if spec.energy.domains == "auto" else list(spec.energy.domains)
        self.threads = available_threads() if spec.threads == "auto" else spec.threads
        self.device = self._find_device()
        self._check_domains()
        self.devices = devices_read(recorder.channels, self.domains, self.device.domain)
        self.executors: list[Executor[Any, Any]] = []

    def _find_device(self) -> Device:
        name = self.spec.device
        workloads = [kind.load_workload() for kind in self.spec.kinds()]
        if name == "auto" and not any(one.uses_gpu for one in workloads):
            if any(one.may_use_gpu for one in workloads) and (gpu := self._visible_gpu()):
                return gpu
            name = "cpu"
        if name != "cpu":
            self.listener.doing("loading torch")
        return find_device(name)

    def _visible_gpu(self) -> Device | None:
        """The first GPU that a meter reads and a program started here can use."""
        hidden = {
            domain
            for meter in self.recorder.meters
            for domain in meter.hidden_from(os.environ).domains
        }
        found = [
            channel.domain
            for channel in self.recorder.channels
            if family(channel.domain) == "gpu" and channel.domain not in hidden
        ]
        if not found:
            return None
        about = {
            key: one for told in self.recorder.described().values() for key, one in told.items()
        }
        return Device("cuda:0", found[0], about.get(f"{found[0]} name", found[0]))

    @property
    def on_wait(self) -> Callable[[str], None]:
        """Hears of a wait for another process that measures; it may be of the same study."""
        return self.listener.doing if self.alone else self.listener.waiting

    def executor(self, make: Callable[..., Made]) -> Made:
        """An executor that works on this device, with these meters."""
        made = make(
            self.recorder,
            self.device.domain,
            self.spec.energy.cool_down_s,
            self.on_wait,
            self.listener.waiting,
            self.devices,
        )
        self.executors.append(made)
        return made

    def counted(self, measurement: Measurement) -> Total:
        """The sum over the domains that count as the energy of a run."""
        return counted(measurement, self.domains, self.device.domain)

    def measure_idle(self) -> dict[str, float]:
        """Idle power in watts by domain; empty if the study requests none."""
        if not self.spec.energy.idle_s:
            return {}
        self.listener.doing(f"measuring idle power for {self.spec.energy.idle_s:g} s")
        return dict(self.recorder.measure_idle(self.spec.energy.idle_s))

    def _check_domains(self) -> None:
        readable = {channel.domain for channel in self.recorder.channels}
        for domain in self.domains or ():
            if domain not in readable:
                raise SpecError(
                    f"energy.domains names {quoted(domain)}, which cannot be read here",
                    f"readable: {', '.join(sorted(readable)) or 'nothing'}",
                )
