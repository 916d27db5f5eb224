"""Which process of a distributed program measures: the first on each node.

Launchers number processes in variables of the environment:

==========================  ====================  ==============  ==================
launcher                    on this node          of all          node
==========================  ====================  ==============  ==================
torchrun, accelerate        LOCAL_RANK            RANK            GROUP_RANK
Open MPI                    OMPI_COMM_WORLD_LOCAL_RANK, ..._RANK  counted
MVAPICH, Intel MPI          MV2_COMM_WORLD_LOCAL_RANK, MPI_LOCALRANKID
SLURM's srun                SLURM_LOCALID         SLURM_PROCID    SLURM_NODEID
==========================  ====================  ==============  ==================

The innermost launcher counts: torchrun under srun is torchrun. The script of an sbatch job is not a
rank, although SLURM numbers it. Without these variables, an initialised ``torch.distributed`` on
one machine gives the number.
"""

from __future__ import annotations

import os
import re
import socket
import sys
import uuid
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path

NODE = "JOULELAB_NODE"
"""Variable with the name of a node, where host names are not unique."""
MOST_DIGITS = 9
MOST_NODES = 1_000_000
STEP_STARTERS = {"srun", "mpirun", "mpiexec"}
NODE_STARTERS = re.compile(r"\b(torchrun|torch\.distributed\.run|accelerate)\b")
NODE_OPTIONS = ("--nnodes", "--num[_-]machines")
"""Options of these that say the number of nodes."""
_JOBS = ("SLURM_JOB_ID", "PBS_JOBID", "LSB_JOBID", "JOB_ID", "TORCHELASTIC_RUN_ID")
_MEETING = (
    *_JOBS,
    *("SLURM_STEP_ID", "SLURM_RESTART_COUNT", "TORCHELASTIC_RESTART_COUNT", "PMIX_NAMESPACE"),
)
_MASTER = ("MASTER_ADDR", "MASTER_PORT")
"""Variables whose values the ranks of one start of a job have in common."""
_LOCAL_HOSTS = {"localhost", "::1", "0.0.0.0"}
Environment = Mapping[str, str]


@dataclass(frozen=True)
class Launcher:
    """The variables of one launcher; the first that is set counts.

    Attributes:
        local: number of a process on its node.
        number: of all.
        ranks: how many there are.
        local_ranks: how many on this node.
        node: number of the node.
        nodes: how many.
    """

    local: str
    number: tuple[str, ...]
    ranks: tuple[str, ...]
    local_ranks: tuple[str, ...] = ()
    node: tuple[str, ...] = ()
    nodes: tuple[str, ...] = ()


LAUNCHERS = (
    Launcher(
        "LOCAL_RANK",
        ("RANK",),
        ("WORLD_SIZE",),
        ("LOCAL_WORLD_SIZE", "LOCAL_SIZE"),
        ("GROUP_RANK", "NODE_RANK", "CROSS_RANK"),
        ("GROUP_WORLD_SIZE",),
    ),
    *(
        Launcher(
            f"{name}_LOCAL_RANK", (f"{name}_RANK",), (f"{name}_SIZE",), (f"{name}_LOCAL_SIZE",)
        )
        for name in ("OMPI_COMM_WORLD", "MV2_COMM_WORLD")
    ),
    Launcher("MPI_LOCALRANKID", ("PMI_RANK",), ("PMI_SIZE",), ("MPI_LOCALNRANKS",)),
    Launcher(
        "SLURM_LOCALID",
        ("SLURM_PROCID",),
        ("SLURM_STEP_NUM_TASKS", "SLURM_NTASKS"),
        (),
        ("SLURM_NODEID",),
        ("SLURM_STEP_NUM_NODES", "SLURM_NNODES"),
    ),
)


@dataclass(frozen=True)
class Rank:
    """A process of a distributed program; a program of one process is rank 0 of 1.

    Attributes:
        number: among all ranks, from 0.
        local: among those of its node.
        node: number of its node, from 0.
        ranks: how many there are.
        local_ranks: how many on this node, or ``None`` where unknown.
        nodes: number of nodes.
        job: id of the scheduler or the launcher; empty where there is none.
        meeting: a name that all ranks of this start of the job have in common.
    """

    number: int = 0
    local: int = 0
    node: int = 0
    ranks: int = 1
    local_ranks: int | None = 1
    nodes: int = 1
    job: str = ""
    meeting: str = ""

    @property
    def records(self) -> bool:
        """Whether this process reads the sensors of its node."""
        return self.local == 0

    @property
    def of_several(self) -> bool:
        """Whether there are other ranks."""
        return self.ranks > 1

    @property
    def recorder(self) -> str:
        """Who measures on this node, in words."""
        first = self.number - self.local
        if self.local_ranks is None or first != self.node * self.local_ranks:
            return "the first rank of this node"  # ranks may be dealt to nodes in turn
        return f"rank {first}, the first of this node"


def here(environment: Environment | None = None) -> Rank:
    """The rank of a process.

    Args:
        environment: its variables; default: those of this process, and ``torch.distributed``.
    """
    variables = os.environ if environment is None else environment
    found: list[tuple[Launcher, Rank]] = []
    for launcher in LAUNCHERS:
        local = _number(variables, launcher.local)
        if local is None or (launcher.local == "SLURM_LOCALID" and _is_batch(local, variables)):
            continue
        found.append((launcher, _rank(launcher, local, variables)))
    if not found:
        return _of_torch(variables) if environment is None else Rank()
    innermost, rank = found[0]
    if _number(variables, *innermost.local_ranks, *innermost.nodes) is None:
        # A script that sets LOCAL_RANK itself, from those of its launcher.
        same = (one for _, one in found[1:] if (one.number, one.local) == (rank.number, rank.local))
        rank = next(same, rank)
    return rank


def _is_batch(local: int, variables: Environment) -> bool:
    """Whether a process that SLURM numbers is the script of a job."""
    return local == 0 and "SLURM_STEP_ID" not in variables


def _rank(launcher: Launcher, local: int, variables: Environment) -> Rank:
    number = _number(variables, *launcher.number)
    ranks = max(_number(variables, *launcher.ranks) or 1, local + 1, (number or 0) + 1)
    local_ranks = _number(variables, *launcher.local_ranks)
    if launcher.local == "SLURM_LOCALID":
        local_ranks = _slurm_tasks(variables)
    nodes = _number(variables, *launcher.nodes)
    if nodes is None:
        nodes = -(-ranks // local_ranks) if local_ranks else 1
    node = _number(variables, *launcher.node)
    if local_ranks is None and nodes == 1 and node is None:
        local_ranks = ranks
    if node is None:
        node = (number or 0) // local_ranks if local_ranks else 0
    return Rank(
        number=local + node * (local_ranks or 1) if number is None else number,
        local=local,
        node=node,
        ranks=ranks,
        local_ranks=local_ranks,
        nodes=max(nodes, node + 1),
        job=job_id(variables),
        meeting=_meeting(variables),
    )


def _of_torch(variables: Environment) -> Rank:
    """By an initialised ``torch.distributed`` on this machine."""
    distributed = sys.modules.get("torch.distributed")
    if distributed is None or not distributed.is_available() or not distributed.is_initialized():
        return Rank()
    address = variables.get("MASTER_ADDR", "")
    if address not in _LOCAL_HOSTS | {socket.gethostname()} and not address.startswith("127."):
        return Rank()  # its processes may be on other machines
    number, ranks = int(distributed.get_rank()), int(distributed.get_world_size())
    meeting = _meeting(variables)
    return Rank(number, number, 0, ranks, ranks, 1, job_id(variables), meeting)


def job_id(environment: Environment) -> str:
    """The id that a scheduler or a launcher has given to a job; empty where there is none."""
    found = (environment.get(name, "") for name in _JOBS)
    return next((one for one in found if one and one != "none"), "")


def _meeting(variables: Environment) -> str:
    names: tuple[str, ...] = _MEETING
    if "SLURM_STEP_ID" not in variables and "PMIX_NAMESPACE" not in variables:
        names += _MASTER  # torchrun's; under others a script sets them, sooner or later
    said = "\n".join(f"{name}={variables.get(name, '')}" for name in names)
    return sha256(said.encode("utf-8", "surrogateescape")).hexdigest()[:16]


def _slurm_tasks(variables: Environment) -> int | None:
    """The number of tasks on this node, of ``4(x2),3``: four on each of two, three on the third."""
    said, node = variables.get("SLURM_STEP_TASKS_PER_NODE", ""), _number(variables, "SLURM_NODEID")
    counts: list[int] = []
    for tasks, times in re.findall(r"(\d+)(?:\(x(\d+)\))?", said):
        counts += [int(tasks)] * min(int(times or 1), MOST_NODES)
    return counts[node] if node is not None and node < len(counts) else None


def _number(variables: Environment, *names: str) -> int | None:
    """The first of some variables that is a number."""
    for name in names:
        text = variables.get(name)
        if text and text.isascii() and text.isdigit() and len(text) <= MOST_DIGITS:
            return int(text)
    return None


def node_name() -> str:
    """The name of this node."""
    given = os.environ.get(NODE) or os.environ.get("SLURMD_NODENAME")
    return given or socket.gethostname().partition(".")[0] or "node"


@cache
def machine() -> str:
    """What tells this machine from others, also where two nodes of a job are on it."""
    if given := os.environ.get(NODE):
        return given
    with suppress(OSError):
        return Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    return f"{socket.gethostname()} {uuid.getnode():x}"


def nodes_started(words: Sequence[str], environment: Environment) -> int:
    """How many nodes a command starts processes on, as far as its words say.

    Args:
        words: of the command.
        environment: of the command.

    >>> nodes_started(["torchrun", "--nnodes=2", "train.py"], {})
    2
    """
    name = Path(words[0]).name if words else ""
    if name in STEP_STARTERS:
        return _number(environment, "SLURM_JOB_NUM_NODES", "SLURM_NNODES") or 1
    text = " ".join(words)
    for option in NODE_OPTIONS if NODE_STARTERS.search(text) else ():
        if found := re.search(rf"{option}[= ](?:\d+:)?(\d+)", text):
            return int(found[1])
    return 1
