"""A sweep on a real Ray cluster: two nodes on this machine, one of them killed half-way."""

import os
import subprocess
import sys
import time

import pandas as pd
import pytest
from test_sweep import BASE

cluster_utils = pytest.importorskip("ray.cluster_utils", reason="the optional extra ray is not installed")


@pytest.fixture
def cluster():
    cluster = cluster_utils.Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    yield cluster
    cluster.shutdown()


def test_a_lost_nodes_trial_of_two_processes_goes_on_elsewhere(cluster, tmp_path):
    node = cluster.add_node(num_cpus=1)
    sweeper = subprocess.Popen(
        [
            sys.executable, "-m", "src.run", *BASE, "lr.peak=1e-4,1e-3", "scale.steps=12", "sweep.sampler=grid",
            "sweep.pruner=none", "sweep.engine=ray", f"ray.address={cluster.address}",
            "hardware.processes=2", "hardware.device_batch_size=6",
        ],
        cwd=tmp_path, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    folder = tmp_path / "outputs" / "sweeps" / "mix_easy_hard"
    deadline = time.monotonic() + 300
    while len({path.parts[-3] for path in folder.glob("trials/*/checkpoints/checkpoint-*")}) < 2:
        assert sweeper.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    cluster.remove_node(node, allow_graceful=False)
    output, _ = sweeper.communicate(timeout=300)
    assert sweeper.returncode == 0, output
    assert "taken up again from step" in output
    table = pd.read_parquet(folder / "trials.parquet")
    assert list(table["state"]) == ["complete"] * 2 and list(table["steps"]) == [12, 12]
    assert sorted(table["deaths"]) == [0, 1]


def test_a_cluster_that_is_not_there(tmp_path):
    result = subprocess.run(
        [sys.executable, "-m", "src.run", *BASE, "lr.peak=1e-4,1e-3", "sweep.engine=ray", "ray.address=127.0.0.1:1"],
        cwd=tmp_path, text=True, capture_output=True, timeout=300,
    )
    assert result.returncode == 2 and "sweep.ray.address: no Ray cluster at 127.0.0.1:1" in result.stderr
