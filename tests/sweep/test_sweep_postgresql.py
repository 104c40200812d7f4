"""A study in a real PostgreSQL server, started here for the test."""

import os
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import pytest
from test_sweep import ACCURACY, BASE, swept, trials

BINARIES = sorted(Path("/usr/lib/postgresql").glob("*/bin")) if not shutil.which("initdb") else [Path(shutil.which("initdb")).parent]


@pytest.fixture
def server():
    """The URL of an empty database."""
    if not BINARIES:
        pytest.skip("no PostgreSQL server is installed (Debian: postgresql)")
    user = "postgres" if os.getuid() == 0 else None  # the server refuses to run as root
    with tempfile.TemporaryDirectory() as folder, socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        if user:
            shutil.chown(folder, user)
        subprocess.run(
            [BINARIES[-1] / "initdb", "-D", f"{folder}/data", "-U", "lab", "--auth=trust", "--no-sync"],
            check=True, user=user, stdout=subprocess.DEVNULL, cwd=folder,
        )
        process = subprocess.Popen(
            [BINARIES[-1] / "postgres", "-D", f"{folder}/data", "-p", str(port), "-k", folder, "-h", "127.0.0.1", "-F"],
            user=user, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=folder,
        )
        try:
            _wait_for(port)
            yield f"postgresql://lab:secret@127.0.0.1:{port}/postgres"
        finally:
            process.terminate()
            process.wait(timeout=30)


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except ConnectionRefusedError:
            assert time.monotonic() < deadline
            time.sleep(0.1)


def test_a_study_is_kept_there_and_continued(server, tmp_path):
    arguments = ("lr.peak=1e-4,1e-3", "sweep.sampler=grid", "sweep.pruner=none", "sweep.n_jobs=1", f"sweep.storage={server}")
    first = swept(tmp_path, *arguments, "sweep.n_trials=1")
    assert first.returncode == 0, first.stderr
    second = swept(tmp_path, *arguments, "sweep.n_trials=2")
    assert second.returncode == 0, second.stderr
    table = trials(tmp_path)
    assert list(table["number"]) == [0, 1] and list(table["state"]) == ["complete"] * 2 and table[ACCURACY].notna().all()
    folder = tmp_path / "outputs" / "sweeps" / "mix_easy_hard"
    assert not (folder / "journal.log").exists()
    assert "secret" not in "".join(path.read_text() for path in folder.glob("*.yaml"))


def test_one_that_is_not_there(command_here):
    result = command_here(*BASE, "lr.peak=1e-4,1e-3", "sweep.storage=postgresql://lab:secret@127.0.0.1:1/postgres")
    assert result.returncode == 2 and "cannot be reached" in result.stderr and "secret" not in result.stderr
    assert result.stderr.count("\n") == 1
