"""The vLLM server's life, with a real process that answers late, dies, and does not heed SIGTERM."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request

import psutil
import pytest
from conftest import ROOT, configured

from src.common.errors import RunFailed, ServerDied, UserError
from src.experiment.serving import server_command, server_for, server_gpus
from src.hardware.gpus import visible_gpus
from src.plan.workload import context_in_words
from src.record.recipe import flat, recipe_of
from src.rollout.server import Server, serving, survive
from src.rollout.vllm import VllmEngine

# Answers after a while, has a child as vLLM has, and ends neither on SIGTERM nor on Ctrl-C.
STUBBORN = """
import http.server, os, signal, subprocess, sys, time
port, late_s = int(sys.argv[1]), float(sys.argv[2])
for number in (signal.SIGTERM, signal.SIGINT): signal.signal(number, signal.SIG_IGN)
child = subprocess.Popen([sys.executable, "-c", "import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(600)"])
print("loading", flush=True)
time.sleep(late_s)
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/die": os._exit(3)
        self.send_response(200 if self.path == "/health" else 404); self.end_headers()
    def log_message(self, *_): pass
http.server.HTTPServer(("127.0.0.1", port), Handler).serve_forever()
"""


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr("src.rollout.server.PATIENCE_S", 1.0)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))


def a_server(folder, late_s=0.0, timeout_s=60.0, code=STUBBORN):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    return Server(
        [sys.executable, "-c", code, str(port), str(late_s)], f"http://127.0.0.1:{port}", folder / "server.log", timeout_s
    )


def family(server):
    """The guard, the server and the server's child."""
    guard = psutil.Process(server.process.pid)
    deadline = time.monotonic() + 60
    while len(guard.children(recursive=True)) < 2 and time.monotonic() < deadline:
        time.sleep(0.02)
    return [guard, *guard.children(recursive=True)]


def die(server):
    with pytest.raises(OSError):
        urllib.request.urlopen(f"{server.url}/die", timeout=5)


def test_it_is_waited_for_and_gone_after(tmp_path):
    server = a_server(tmp_path, late_s=1.0)
    begun = time.monotonic()
    with serving(server):
        assert time.monotonic() - begun >= 1.0 and server.healthy()
        everyone = family(server)
        assert len(everyone) == 3
    assert not [process for process in everyone if process.is_running()]
    assert "loading" in server.log.read_text()


def test_it_is_gone_after_an_error(tmp_path):
    server = a_server(tmp_path)
    with pytest.raises(ZeroDivisionError), serving(server):
        everyone = family(server)
        raise ZeroDivisionError
    assert not [process for process in everyone if process.is_running()]


OWNER = """
import sys, time
sys.path[:0] = ["tests", "tests/rollout"]
import test_server
from pathlib import Path
import src.rollout.server
src.rollout.server.PATIENCE_S = 1.0
server = test_server.a_server(Path(sys.argv[1]))
server.start(); server.wait()
print(" ".join(str(process.pid) for process in test_server.family(server)), flush=True)
time.sleep(600)
"""


def test_it_is_gone_after_its_owner_was_killed(tmp_path):
    owner = subprocess.Popen([sys.executable, "-c", OWNER, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    everyone = [psutil.Process(int(number)) for number in owner.stdout.readline().split()]
    assert len(everyone) == 3
    owner.send_signal(signal.SIGKILL)
    owner.wait()
    _, alive = psutil.wait_procs(everyone, timeout=30)
    assert not alive


def test_one_that_ends_before_it_is_ready_says_why(tmp_path):
    server = a_server(tmp_path, code="import sys; sys.exit('no such model')")
    with pytest.raises(RunFailed, match="no such model"), serving(server):
        pytest.fail("it never was ready")


def test_one_that_is_never_ready_is_given_up(tmp_path):
    server = a_server(tmp_path, late_s=600, timeout_s=1)
    with pytest.raises(RunFailed, match="not ready after 1 s"), serving(server):
        pytest.fail("it never was ready")
    assert not server.alive()


def test_a_port_in_use_is_refused(tmp_path):
    server = a_server(tmp_path)
    with serving(server):
        second = Server(server.command, server.url, tmp_path / "second.log", 30)
        with pytest.raises(UserError, match="rollout.port"), serving(second):
            pytest.fail("two servers on one port")


class Generation:
    """What a LabGeneration does in server mode, as far as it matters: one asks, all read what was answered."""

    mode = "server"

    def __init__(self, server):
        self.synced, self.server = 0, server
        self.connect()

    def connect(self):
        self.vllm_client = Client(self.server)

    def sync_weights(self):
        urllib.request.urlopen(f"{self.server.url}/health", timeout=5).close()
        self.synced += 1

    def generate(self, **_):
        output = self.vllm_client.generate()
        return [ids for ids in output["prompt_ids"] for _ in range(2)], output["completion_ids"]


class Client:
    def __init__(self, server):
        self.server = server

    def generate(self, **_):
        urllib.request.urlopen(f"{self.server.url}/health", timeout=5).close()
        return {"prompt_ids": [[1]], "completion_ids": [[2], [3]]}


@pytest.fixture
def surviving(tmp_path):
    server = a_server(tmp_path)
    generation, notes = Generation(server), []
    with serving(server):
        survive(generation, server, notes.append)
        yield server, generation, notes


def test_a_death_is_survived_once_with_the_weights_pushed_again(surviving):
    server, generation, notes = surviving
    assert generation.generate() == ([[1], [1]], [[2], [3]])
    die(server)
    assert generation.generate() == ([[1], [1]], [[2], [3]])
    assert (generation.synced, server.restarts, len(notes)) == (1, 1, 1) and server.healthy()
    die(server)
    with pytest.raises(RunFailed, match="died again"):
        generation.generate()


def test_a_death_while_measuring_is_survived_too(surviving):
    server, generation, _ = surviving
    engine = VllmEngine(generation, frozenset())
    die(server)
    sampled = engine.generate([[1]], 2, temperature=1.0, top_p=1.0, limit=8, seed=0)
    assert sampled == [[[2], [3]]] and generation.synced == 1  # to the one in its place


def test_a_death_between_an_answer_and_a_push_is_survived_too(surviving):
    server, generation, notes = surviving
    generation.generate()
    die(server)
    generation.sync_weights()
    assert (generation.synced, server.restarts, len(notes)) == (1, 1, 1) and server.healthy()


def test_the_other_processes_learn_of_a_death_from_what_they_read(surviving):
    """As the answer is handed round pickled, it has to stay unreadable."""
    import pickle

    server, generation, _ = surviving
    die(server)
    handed_round = pickle.loads(pickle.dumps(generation.vllm_client.generate()))
    with pytest.raises(ServerDied):
        list(handed_round["prompt_ids"])


def test_an_error_of_a_server_that_lives_is_not_taken_for_its_death(surviving):
    server, generation, _ = surviving
    generation.vllm_client.server = Server([], server.url + "/nowhere", server.log, 1)
    with pytest.raises(OSError, match="404"):
        generation.generate()
    assert server.restarts == 0


def test_the_server_gets_the_gpu_that_nobody_trains_on(monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "4,5,6,7")
    config = configured("+experiment=mix_easy_hard", "scale=open_rs")
    assert visible_gpus() == ["4", "5", "6", "7"]
    assert server_gpus(config) == ["7"]  # three train
    everywhere = configured("+experiment=mix_easy_hard", "scale=open_rs", "hardware.processes=4",
                            "hardware.device_batch_size=3")
    with pytest.raises(UserError, match="needs a GPU of its own"):
        server_gpus(everywhere)


def given_to_server(*overrides):
    command = server_command(configured("+experiment=mix_easy_hard", "scale=open_rs", *overrides), 4321)
    return dict(zip(command[3::2], command[4::2], strict=True))


def test_the_server_has_all_the_room_that_the_model_has(monkeypatch):
    """Suites have prompts longer than the training's budget, and a limit beyond the model's positions is refused by vLLM."""
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,2,3")
    given = given_to_server()
    assert "--max_model_len" not in given  # vLLM takes what the model's config.json says
    assert (given["--model"], given["--port"]) == ("deepseek-ai/DeepSeek-R1-Distill-Qwen-1.5B", "4321")
    assert (given["--dtype"], given["--tensor_parallel_size"]) == ("bfloat16", "1")
    assert given_to_server("++trainer.vllm_max_model_length=9000")["--max_model_len"] == "9000"
    assert given_to_server("model.revision=abc")["--revision"] == "abc"


def test_the_plan_says_where_the_context_is_short():
    config = configured("+experiment=mix_easy_hard", "scale=open_rs")
    assert context_in_words(config, 131072) is None
    assert context_in_words(config, 32768) == "32,768 tokens, which leave 32,256 after a prompt of 512: evaluation asks for 32,768"


def test_two_runs_on_one_machine_take_other_ports(monkeypatch, tmp_path):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,2,3")
    configs = [configured("+experiment=mix_easy_hard", "scale=open_rs", *extra) for extra in ([], [], ["rollout.port=4321"])]
    urls = [server_for(config, tmp_path / "log").url for config in configs]
    assert len(set(urls)) == 3 and urls[2] == "http://127.0.0.1:4321"
    assert len({config.rollout.trainer_fields()["vllm_group_port"] for config in configs}) == 3
    assert configs[0].published()["rollout"]["port"] is None  # the record does not have it, nor does the recipe
    alone = configured("+experiment=mix_easy_hard", "scale=open_rs", "rollout.port=4321", "rollout.helpers=false")
    first, other = (recipe_of(flat(config.published())) for config in (configs[0], alone))
    assert first == other


def test_a_server_that_runs_already_is_somewhere():
    with pytest.raises(UserError, match="say where the server that runs already is"):
        configured("rollout=vllm_server", "rollout.start_server=false")


PRINTS = "import os, sys; print(*(os.environ.get(name, 'none') for name in sys.argv[3:]))"


def test_the_environment_reaches_the_server_but_not_a_ranks_place(tmp_path, monkeypatch):
    names = {"HF_TOKEN": "hf_x", "HF_HOME": str(tmp_path), "VLLM_LOGGING_LEVEL": "ERROR", "RANK": "0", "MASTER_PORT": "1"}
    for name, value in names.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)  # as it is when the hub was found to be out of reach
    server = a_server(tmp_path, code=PRINTS)
    server.command += [*names, "HF_HUB_OFFLINE"]
    server.start()
    server.process.wait(60)
    assert server.log.read_text().split() == ["hf_x", str(tmp_path), "ERROR", "none", "none", "1"]
