"""A sweep on a real Ray cluster: two nodes on this machine, one of them killed half-way, and after it the sweeper."""

import subprocess
import sys

import pytest
from test_sweep import ACCURACY, BASE, learnt, started, swept, trials, until, wait_until
from test_sweep_faults import folder_of

cluster_utils = pytest.importorskip("ray.cluster_utils", reason="the optional extra ray is not installed")


@pytest.fixture
def cluster():
    head = {"num_cpus": 1, "include_dashboard": False, "_system_config": {"worker_niceness": 0}}  # or other work on the machine starves it
    cluster = cluster_utils.Cluster(initialize_head=True, head_node_args=head)
    yield cluster
    cluster.shutdown()


def test_trials_of_a_lost_node_and_of_a_lost_sweeper_go_on_from_their_checkpoints(cluster, tmp_path):
    """They are of two processes each, and differ in nothing that is learnt: both come to the same, wherever they were killed."""
    node = cluster.add_node(num_cpus=1)
    arguments = (
        "record.completions_every_steps=1,2", "scale.steps=12", "sweep.engine=ray", f"ray.address={cluster.address}",
        "hardware.processes=2", "hardware.device_batch_size=6",
    )  # fmt: skip
    runs = [folder_of(tmp_path) / "trials" / number for number in ("0000", "0001")]
    sweeper = started(tmp_path, *arguments)
    wait_until(lambda: all(any(run.glob("checkpoints/checkpoint-*")) for run in runs), sweeper, 500)
    begun = [(run / "config.yaml").stat().st_mtime_ns for run in runs]
    cluster.remove_node(node, allow_graceful=False)
    said = until("taken up again from step", sweeper)
    sweeper.kill()
    said += sweeper.communicate()[0]
    again = swept(tmp_path, *arguments)
    assert again.returncode == 0, again.stdout + again.stderr
    assert again.stdout.count(" continues: ") == 2 - said.count(" complete ") and "died" not in again.stdout, said + again.stdout
    assert [(run / "config.yaml").stat().st_mtime_ns for run in runs] == begun  # which a run that begins anew writes anew
    one, other = map(learnt, runs)
    assert one == other and [line["step"] for line in one] == list(range(1, 13))
    table = trials(tmp_path)
    assert list(table["state"]) == ["complete"] * 2 and table[ACCURACY].nunique() == 1 and sorted(table["deaths"]) == [0, 1]


def test_a_cluster_that_is_not_there(tmp_path):
    result = subprocess.run(
        [sys.executable, "-m", "src.run", *BASE, "lr.peak=1e-4,1e-3", "sweep.engine=ray", "ray.address=127.0.0.1:1"],
        cwd=tmp_path, text=True, capture_output=True, timeout=300,
    )
    assert result.returncode == 2 and "sweep.ray.address: no Ray cluster at 127.0.0.1:1" in result.stderr
