"""A server that answers late, never, or in the middle of a push no more: nobody waits for it without an end."""

import http.server
import json
import subprocess
import sys
import threading
import time
from contextlib import contextmanager

import pytest
import torch
from conftest import ROOT, TOY

from src.common.errors import RunFailed
from src.rollout import client as client_module
from src.rollout.client import WatchedClient, patiently

ROOM = 40  # tokens of the server's context


class Handler(http.server.BaseHTTPRequestHandler):
    """The endpoints of vLLM that TRL's client uses; `ways` has, by path, what comes in the place of an answer."""

    ways: dict = {}
    asked: list = []
    tokens = 0

    def do_GET(self):
        counted = "".join(f"{name} {self.tokens}\n" for name in client_module.COUNTERS)
        self._say({"/v1/models": json.dumps({"data": [{"id": "toy", "max_model_len": ROOM}]}), "/metrics": counted}.get(self.path, ""))

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])) or "{}")
        self.asked.append((self.path, body))
        if way := self.ways.get(self.path):
            return way(self)
        choices = [
            {"prompt_token_ids": ids, "token_ids": [body["max_tokens"]] * 2, "logprobs": None}
            for ids in body.get("prompt", ()) for _ in range(body["n"])
        ]
        self._say(json.dumps({"choices": choices}))

    def _say(self, text, status=200):
        self.send_response(status)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_):
        pass


def never(handler):
    time.sleep(60)


def refuses(handler):
    handler._say("no such weight", 500)


class Communicator:
    """Stands for NCCL's, which there is none of on a CPU: a broadcast ends when the other side has taken part."""

    device = torch.device("meta")  # another than that of the weights, as CUDA's would be

    def __init__(self, taken=True):
        self.taken, self.got, self.destroyed = taken, [], False

    def destroy(self):
        self.destroyed = True


def producer(iterator, group, src, post_iter_func):
    for item in iterator:
        group.got.append(post_iter_func(item))
        if not group.taken:
            threading.Event().wait(60)


@pytest.fixture
def client(monkeypatch):
    """A client of a server in this process, patient for a second."""
    trl = "trl.generation.vllm_client"
    monkeypatch.setattr(f"{trl}.is_vllm_available", lambda **_: True)
    monkeypatch.setattr(f"{trl}._HAS_STATEFUL_TRAINER_ENGINE", True)
    monkeypatch.setattr(f"{trl}.packed_nccl_broadcast_producer", producer, raising=False)
    monkeypatch.setattr(f"{trl}._HAS_RESET_PREFIX_CACHE_SUCCESS", True)
    for name, seconds in (("PUSH_S", 1.0), ("STILL_S", 1.0), ("POLL_S", 0.1)):
        monkeypatch.setattr(client_module, name, seconds)
    handler = type("Own", (Handler,), {"ways": {}, "asked": [], "tokens": 0})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    found = WatchedClient(base_url=f"http://127.0.0.1:{server.server_port}")
    found.communicator, found.handler = Communicator(), handler
    yield found
    server.shutdown()
    server.server_close()


WEIGHTS = {"a": torch.ones(2), "b": torch.zeros(3)}
METADATA = [(name, "float32", list(weight.shape)) for name, weight in WEIGHTS.items()]


@contextmanager
def given_up(says):
    begun = time.monotonic()
    with pytest.raises(RunFailed, match=says) as raised:
        yield
    assert time.monotonic() - begun < 10 and "\n" not in str(raised.value)


def test_weights_on_the_cpu_are_brought_to_the_communicators_device(client):
    client.update_named_params(METADATA, iter(WEIGHTS.items()))
    assert [(weight.device.type, len(weight)) for weight in client.communicator.got] == [("meta", 2), ("meta", 3)]
    assert [path for path, _ in client.handler.asked] == ["/start_weight_update", "/update_weights", "/finish_weight_update"]


@pytest.mark.parametrize("path", ["/start_weight_update", "/update_weights", "/finish_weight_update"])
@pytest.mark.parametrize(("way", "says"), [(never, "1.0|1 s"), (refuses, "no such weight")])
def test_a_server_that_fails_in_a_push_ends_it(client, path, way, says):
    client.handler.ways[path] = way
    with given_up(f"the weights did not reach .*({says})"):
        client.update_named_params(METADATA, iter(WEIGHTS.items()))
    assert client.communicator.destroyed


def test_a_server_that_refuses_is_not_waited_for_in_the_broadcast(client, monkeypatch):
    monkeypatch.setattr(client_module, "PUSH_S", 30.0)
    client.handler.ways["/update_weights"] = refuses
    client.communicator = Communicator(taken=False)
    with given_up("no such weight"):
        client.update_named_params(METADATA, iter(WEIGHTS.items()))


def test_a_broadcast_that_nobody_takes_part_in_is_given_up(client):
    client.communicator = Communicator(taken=False)
    with given_up("nothing has moved for 1 s"):
        client.update_named_params(METADATA, iter(WEIGHTS.items()))


def test_an_error_on_the_trainers_side_ends_the_push_at_once(client, monkeypatch):
    monkeypatch.setattr(client_module, "PUSH_S", 30.0)
    client.handler.ways["/update_weights"] = never

    def weights():
        yield "a", WEIGHTS["a"]
        raise ValueError("no room to merge")

    with given_up("no room to merge"):
        client.update_named_params(METADATA, weights())


def test_the_cache_of_a_server_that_says_nothing_is_not_waited_for(client):
    client.handler.ways["/reset_prefix_cache"] = never
    with pytest.raises(OSError, match="timed out"):
        client.reset_prefix_cache()


def test_a_server_that_samples_no_more_is_given_up(client):
    client.handler.ways["/v1/completions"] = never
    with given_up("samples no more .*nothing has moved for 1 s"):
        client.generate([[1]], n=1, logprobs=None)


def test_a_server_that_samples_on_is_waited_for(client):
    def slowly(handler):
        for _ in range(8):
            time.sleep(0.3)
            type(handler).tokens += 1
        handler._say(json.dumps({"choices": [{"prompt_token_ids": [1], "token_ids": [2], "logprobs": None}]}))

    client.handler.ways["/v1/completions"] = slowly
    assert client.generate([[1]], n=1, logprobs=None)["completion_ids"] == [[2]]


def test_each_prompt_is_asked_with_what_the_context_leaves_after_it(client):
    prompts = [[1] * length for length in (30, 5, 20, 6)]
    answer = client.generate(prompts, max_tokens=20, n=2, logprobs=None)
    assert answer["prompt_ids"] == prompts
    assert [ids[0] for ids in answer["completion_ids"]] == [10, 10, 20, 20, 20, 20, 20, 20]  # two of each; 40 - 30 tokens
    assert answer["logprobs"] is None and len(client.handler.asked) == 2
    with given_up("a prompt has 40 tokens, and the engine reads 40"):
        client.generate([[1] * 40], n=1)


def test_what_a_call_raises_is_raised():
    with pytest.raises(ZeroDivisionError):
        patiently([lambda: 1, lambda: 1 // 0], 5.0)
    assert patiently([lambda: 1, lambda: 2], 5.0) == [1, 2]


RUN = """
import runpy, sys
sys.path[:0] = ["tests", "tests/rollout"]
import threading, http.server, test_client
import trl.generation.vllm_client as trl_client, trl.trainer.grpo_trainer as grpo_trainer
import src.rollout.config, src.rollout.vllm
from src.rollout import client

src.rollout.config.check_vllm = lambda *_: None
src.rollout.vllm.vllm_version = lambda: "no vLLM"
trl_client.is_vllm_available = grpo_trainer.is_vllm_available = lambda **_: True
trl_client._HAS_STATEFUL_TRAINER_ENGINE, trl_client.packed_nccl_broadcast_producer = True, test_client.producer
client.PUSH_S, client.POLL_S = 2.0, 0.1
communicator = test_client.Communicator(taken=False)
client.WatchedClient.init_communicator = lambda self, device: setattr(self, "communicator", communicator)
test_client.Handler.ways = {"/update_weights": test_client.never}
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), test_client.Handler)
threading.Thread(target=server.serve_forever, daemon=True).start()
sys.argv += [f"rollout.port={server.server_port}"]
runpy.run_module("src.run", run_name="__main__")
"""


def test_a_run_whose_first_push_is_never_answered_ends_in_a_line(tmp_path):
    asked = (
        "+experiment=mix_easy_hard", *TOY, "rollout=vllm_server", "rollout.start_server=false",
        "trainer.vllm_importance_sampling_correction=false", f"output_root={tmp_path}", f"run_dir={tmp_path}/run",
    )
    result = subprocess.run(
        [sys.executable, "-c", RUN, *asked], cwd=ROOT, capture_output=True, text=True, timeout=300,
    )
    (line,) = [line for line in result.stderr.splitlines() if line.startswith("error:")]
    assert result.returncode == 1 and "the weights did not reach the vLLM server" in line
    assert "Traceback" not in result.stderr and json.loads((tmp_path / "run" / "summary.json").read_text())["status"] == "failed"
