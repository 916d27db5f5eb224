"""A program over ranks that SLURM's srun starts on two nodes; ``make test-cluster``."""

import json
import os
import subprocess
import sys

import pytest
from slurm_cluster import SlurmCluster

pytestmark = pytest.mark.cluster
MEASURE = [sys.executable, "-m", "joulelab", "measure", "--meter", "estimate", "--json", "--"]
STEP = ["srun", "--nodes", "2", "--ntasks-per-node", "2", "--overcommit"]


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    made = SlurmCluster(tmp_path_factory.mktemp("slurm"))
    os.environ["SLURM_CONF"] = str(made.configuration)
    yield made
    made.close()
    del os.environ["SLURM_CONF"]


def said(line, folder):
    done = subprocess.run(
        line, cwd=folder, capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_the_command_under_srun_is_measured_once_a_node(cluster, tmp_path):
    work = [sys.executable, "-S", "-c", "sum(range(10**6))"]
    measurement = said([*STEP, *MEASURE, *work], tmp_path)["measurement"]
    job = measurement["job"]
    assert int(job["id"]) > 0
    assert job["ranks"] == 4
    assert [[node["name"], node["ranks"]] for node in job["nodes"]] == [["n1", 2], ["n2", 2]]
    assert measurement["total"]["gross_j"] == sum(node["energy_j"] for node in job["nodes"])
    assert not list(tmp_path.iterdir())


def test_a_block_under_srun_is_measured_once_a_node(cluster, tmp_path):
    (tmp_path / "train.py").write_text("""
import json, os, joulelab
with joulelab.measure("training", meters=["estimate"]) as m:
    sum(range(10**6))
if os.environ["SLURM_PROCID"] == "0":
    print(json.dumps([m.energy_j, [[one.name, one.ranks] for one in m.nodes]]))
else:
    assert (m.energy_j is None) == (os.environ["SLURM_LOCALID"] != "0")
""")
    energy_j, nodes = said([*STEP, sys.executable, "train.py"], tmp_path)
    assert energy_j > 0
    assert nodes == [["n1", 2], ["n2", 2]]


def test_the_script_of_a_job_is_one_process_and_srun_in_it_is_mentioned(cluster, tmp_path):
    (tmp_path / "job.sh").write_text(f"#!/bin/sh\n{' '.join(MEASURE)} srun -n 2 hostname\n")
    line = ["sbatch", "--wait", "--nodes", "2", "--output", "out.txt", "--error", "err.txt"]
    subprocess.run([*line, "job.sh"], cwd=tmp_path, check=True, timeout=120)
    measurement = json.loads((tmp_path / "out.txt").read_text())["measurement"]
    assert "job" not in measurement
    assert measurement["flags"][-1].startswith("the command runs on 2 nodes and only this one")
