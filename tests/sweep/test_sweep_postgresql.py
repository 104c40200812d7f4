"""A study in a real PostgreSQL server, started here for the test; also on two hosts of one wire, of which one is lost."""

import os
import re
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import pytest
from optuna.study import StudyDirection
from sqlalchemy import text
from test_sweep import ACCURACY, BASE, learnt, started, swept, trials, until, wait_until
from test_sweep_faults import folder_of

from src.sweep import study

INITDB = shutil.which("initdb") or max(Path("/usr/lib/postgresql").glob("*/bin/initdb"), default=None)
BINARIES = INITDB and Path(INITDB).resolve().parent
NETWORK = ("ip", "netns", "exec")  # and its name: what a command is run in
NAMED = ("unshare", "--uts", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", 'hostname "$0"; exec "$@"')  # and a name


@contextmanager
def serving(address="127.0.0.1", network=()):
    """The URL of an empty database; `network`: the command that runs another in the network of that address."""
    if not BINARIES:
        pytest.skip("no PostgreSQL server is installed (Debian: postgresql)")
    # The server refuses to run as root.
    user = ("setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups") if os.getuid() == 0 else ()
    with tempfile.TemporaryDirectory() as folder, socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
        free.close()
        if user:
            shutil.chown(folder, "postgres")
        subprocess.run(
            [*user, BINARIES / "initdb", "-D", f"{folder}/data", "-U", "lab", "--auth=trust", "--no-sync"],
            check=True, stdout=subprocess.DEVNULL, cwd=folder,
        )
        with open(f"{folder}/data/pg_hba.conf", "a") as allowed:
            allowed.write("host all lab samenet trust\n")
        process = subprocess.Popen(
            [*network, *user, BINARIES / "postgres", "-D", f"{folder}/data", "-p", port, "-k", folder, "-h", address, "-F"],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=folder,
        )
        try:
            deadline = time.monotonic() + 60
            while subprocess.run([*network, BINARIES / "pg_isready", "-q", "-h", address, "-p", port]).returncode:
                assert time.monotonic() < deadline
                time.sleep(0.1)
            yield f"postgresql://lab:secret@{address}:{port}/postgres"
        finally:
            process.send_signal(signal.SIGINT)  # which waits for no client
            process.wait(timeout=30)


@pytest.fixture
def server():
    with serving() as url:
        yield url


@pytest.fixture
def hosts():
    """The names of two hosts' networks, which one wire joins: 10.77.0.1 and 10.77.0.2."""
    if not shutil.which("ip"):
        pytest.skip("ip is not installed (Debian: iproute2)")
    one, other = names = [f"lab{os.getpid()}{side}" for side in "ab"]
    commands = [f"netns add {one}", f"netns add {other}", f"link add wire netns {one} type veth peer name wire netns {other}"]
    for number, name in enumerate(names, 1):
        commands.append(f"-n {name} addr add 10.77.0.{number}/24 dev wire")
        commands += [f"-n {name} link set {device} up" for device in ("lo", "wire")]  # one speaks to itself by lo
    commands.append(f"netns exec {one} unshare --uts --pid --fork --mount-proc true")
    try:
        for command in commands:
            made = subprocess.run(["ip", *command.split()], capture_output=True, text=True)
            if made.returncode:
                pytest.skip(f"this user may make no hosts: ip {command}: {made.stderr.strip()}")
        yield names
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "del", name], capture_output=True)


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


def numbers(what, said):
    return [int(number) for number in re.findall(rf"trial (\d+) {what}", said)]


def test_two_hosts_share_a_study_and_one_ends_what_a_lost_one_began(hosts, tmp_path):
    """They share nothing but their files: what is process 1 of the one is another's there. The trials differ in nothing that is
    learnt: all come to the same, the one that was taken over too."""
    with serving("10.77.0.1", (*NETWORK, hosts[0])) as url:
        arguments = ("record.completions_every_steps=1,2,3,4,5,6", "scale.steps=6", "sweep.n_jobs=1", f"sweep.storage={url}")
        sweepers = []
        for name in hosts:
            (tmp_path / name).mkdir()
            host = (*NETWORK, name, *NAMED, name)
            sweepers.append(started(tmp_path, *arguments, host=host, TMPDIR=str(tmp_path / name)))
        kept, lost = sweepers
        said = until(" complete ", lost) + until(" starts", lost)
        begun = numbers("starts", said)[-1]
        runs = [folder_of(tmp_path) / "trials" / f"{number:04d}" for number in range(6)]
        wait_until(lambda: any(runs[begun].glob("checkpoints/checkpoint-*")), lost)
        config = (runs[begun] / "config.yaml").stat()
        lost.kill()
        said += lost.communicate()[0]
        output, _ = kept.communicate(timeout=600)
    assert kept.returncode == 0, output
    assert sorted(numbers("starts", output) + numbers("starts", said)) == [0, 1, 2, 3, 4, 5], said + output
    assert numbers("complete", said) == numbers("starts", said)[:-1] and numbers("continues", output) == [begun], said + output
    assert (runs[begun] / "config.yaml").stat().st_mtime_ns == config.st_mtime_ns  # which a run that begins anew writes anew
    found = [learnt(run) for run in runs]
    assert [line["step"] for line in found[0]] == [1, 2, 3, 4, 5, 6] and found == [found[0]] * 6
    table = trials(tmp_path)
    assert list(table["state"]) == ["complete"] * 6 and table[ACCURACY].nunique() == 1 and table["deaths"].sum() == 0


def test_a_transaction_that_a_lost_host_has_left_open_stops_nobody(server, tmp_path, monkeypatch):
    monkeypatch.setattr(study, "LOST_S", 1)
    lost, kept = (study.open_storage(server, tmp_path) for _ in range(2))
    number = lost.create_new_study([StudyDirection.MAXIMIZE], "shared")
    with lost.engine.connect() as connection:
        connection.execute(text("SELECT * FROM studies FOR UPDATE"))
        waiting = threading.Thread(target=kept.create_new_trial, args=[number], daemon=True)
        waiting.start()
        waiting.join(60)
        assert len(kept.get_all_trials(number)) == 1
        connection.invalidate()  # the server has closed it


def test_one_that_is_not_there(command_here):
    result = command_here(*BASE, "lr.peak=1e-4,1e-3", "sweep.storage=postgresql://lab:secret@127.0.0.1:1/postgres")
    assert result.returncode == 2 and "cannot be reached" in result.stderr and "secret" not in result.stderr
    assert result.stderr.count("\n") == 1
