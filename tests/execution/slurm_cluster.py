"""A SLURM cluster on this machine: one controller, and nodes that are processes."""

import os
import shutil
import signal
import socket
import subprocess
import time
from contextlib import suppress

import psutil
import pytest

NODES = 3
CONFIGURATION = """
ClusterName=joulelab
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
SlurmdUser=root
SlurmctldPort={port}
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/%n.pid
SlurmdSpoolDir={folder}/spool.%n
StateSaveLocation={folder}/state
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/%n.log
SlurmdParameters=config_overrides
AuthInfo=socket={folder}/munge.socket
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SchedulerType=sched/backfill
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
ReturnToService=2
KillWait=5
SlurmdTimeout=10
NodeName=n[1-{nodes}] NodeHostname={host} NodeAddr=127.0.0.1 Port=[{first}-{last}] CPUs=2 \
RealMemory=2000
PartitionName=main Nodes=n[1-{nodes}] Default=YES MaxTime=INFINITE State=UP
"""


class SlurmCluster:
    """Starts a cluster in a folder; `close` ends it.

    Args:
        folder: a new one.
    """

    def __init__(self, folder):
        for program in ("slurmctld", "slurmd", "munged", "sbatch"):
            if shutil.which(program) is None:
                pytest.skip(f"there is no {program}: install Debian's slurm-wlm and munge")
        if os.geteuid() != 0:
            pytest.skip("slurmd needs root")
        self.folder = folder
        (folder / "state").mkdir(parents=True)
        port = _free_ports(NODES + 1)
        host = socket.gethostname()
        self.configuration = folder / "slurm.conf"
        self.configuration.write_text(
            CONFIGURATION.format(
                host=host,
                folder=folder,
                nodes=NODES,
                port=port,
                first=port + 1,
                last=port + NODES,
            )
        )
        key = folder / "munge.key"
        key.write_bytes(os.urandom(1024))
        key.chmod(0o400)
        paths = [f"--{name}={folder}/munge.{name[:3]}" for name in ("log-file", "seed-file")]
        self._run(
            "munged",
            f"--key-file={key}",
            f"--socket={folder}/munge.socket",
            f"--pid-file={folder}/munge.pid",
            *paths,
            "--force",
        )
        self._run("slurmctld")
        for number in range(1, NODES + 1):
            self.start_node(number)
        self._wait()

    def start_node(self, number):
        """Start a node."""
        (self.folder / f"spool.n{number}").mkdir(exist_ok=True)
        self._run("slurmd", "-N", f"n{number}")

    def kill_node(self, name):
        """Kill a node, with all that runs on it."""
        for one in psutil.process_iter():
            with suppress(psutil.Error):
                if one.environ().get("SLURMD_NODENAME") == name:
                    one.kill()
        os.kill(int((self.folder / f"{name}.pid").read_text()), signal.SIGKILL)
        for one in psutil.process_iter(["cmdline"]):
            if " ".join(one.info["cmdline"] or ()).startswith("slurmstepd") and _spool(one, name):
                one.kill()

    def close(self):
        """End all of it."""
        for number in range(1, NODES + 1):
            with suppress(OSError, ValueError):
                self.kill_node(f"n{number}")
        for path in self.folder.glob("*.pid"):
            with suppress(ProcessLookupError, ValueError):
                os.kill(int(path.read_text()), signal.SIGKILL)

    def _run(self, *line):
        environment = os.environ | {"SLURM_CONF": str(self.configuration)}
        subprocess.run(line, check=True, env=environment, capture_output=True, timeout=60)

    def _wait(self):
        deadline_s = time.monotonic() + 60
        while True:
            environment = os.environ | {"SLURM_CONF": str(self.configuration)}
            line = ["sinfo", "--noheader", "--format=%D %T"]
            found = subprocess.run(
                line, env=environment, capture_output=True, text=True, check=False
            )
            if found.stdout.strip() == f"{NODES} idle":
                return
            assert time.monotonic() < deadline_s, found.stdout + found.stderr
            time.sleep(0.2)


def _free_ports(count):
    """The first of so many ports in a row that are free now."""
    for first in range(20_000, 30_000, count):
        sockets = []
        try:
            for port in range(first, first + count):
                sockets.append(socket.socket())
                sockets[-1].bind(("127.0.0.1", port))
            return first
        except OSError:
            continue
        finally:
            for one in sockets:
                one.close()
    raise OSError("no free ports")


def _spool(process, name):
    """Whether a process of SLURM has files in the spool folder of a node."""
    with suppress(psutil.Error):
        return any(f"spool.{name}" in one.path for one in process.open_files())
    return False
