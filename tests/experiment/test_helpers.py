"""Servers on the GPUs that train, while suites are measured: where there is room, and where one cannot be started."""

import os
from contextlib import nullcontext
from types import SimpleNamespace

import pytest
from conftest import configured

from src.experiment import helpers
from src.experiment.helpers import Helpers
from src.rollout.several import Several

UUIDS = [f"GPU-{number}1111111-aaaa-bbbb-cccc-000000000000" for number in range(4)]
FREE = (45000, 3000, 44000, 5000)  # MiB


@pytest.fixture
def four_a40(tmp_path, monkeypatch):
    """A machine whose nvidia-smi lists four cards, of which the second is full."""
    (tmp_path / "list").write_text("".join(f"GPU {n}: NVIDIA A40 (UUID: {uuid})\n" for n, uuid in enumerate(UUIDS)))
    (tmp_path / "sizes").write_text("".join(f"{uuid}, 46068\n" for uuid in UUIDS))
    (tmp_path / "free").write_text("".join(f"{uuid}, {free}, 46068\n" for uuid, free in zip(UUIDS, FREE, strict=True)))
    program = tmp_path / "nvidia-smi"
    cases = ("--list-gpus", "list"), ("*memory.free*", "free"), ("*", "sizes")
    program.write_text("#!/bin/sh\ncase $1 in " + " ".join(f"{what}) cat {tmp_path}/{file};;" for what, file in cases) + " esac\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr(helpers, "SETTLED_S", 0.01)


class Generation:
    """TRL's hold on the server that samples in training: it answers with the prompt, for each sample."""

    mode = "server"

    def __init__(self):
        self.vllm_client = SimpleNamespace(
            generate=lambda prompts, n, **_: {"prompt_ids": prompts, "completion_ids": [ids for ids in prompts for _ in range(n)]}
        )

    def sync_weights(self):
        pass


def session_in(folder, *overrides):
    trainer = SimpleNamespace(vllm_generation=Generation(), ends=frozenset(), pushing_alone=nullcontext)
    config = configured("+experiment=mix_easy_hard", "scale=open_rs", *overrides)
    return SimpleNamespace(config=config, trainer=trainer, record=SimpleNamespace(folder=folder))


class Notes(list):
    note = warn = list.append


def test_there_is_one_on_each_gpu_that_trains_and_has_room(four_a40, tmp_path):
    helping = Helpers(session_in(tmp_path), notes := Notes())
    helping._choose("a/folder", None)
    assert [server.environment["CUDA_VISIBLE_DEVICES"] for server in helping.servers] == ["0", "2"]  # and 3 is the one that samples
    given = [dict(zip(server.command[3::2], server.command[4::2], strict=True)) for server in helping.servers]
    assert [each["--gpu-memory-utilization"] for each in given] == ["0.928", "0.907"]
    assert {each["--model"] for each in given} == {"a/folder"} and len({each["--port"] for each in given}) == 2
    assert "GPU 1 has 3.1 GB left" in notes[0] and "measured without it" in notes[0]


def test_what_cannot_be_started_is_done_without_and_not_tried_again(four_a40, tmp_path):
    helping = Helpers(session_in(tmp_path), notes := Notes())
    for _ in range(2):
        with helping.engine(str(tmp_path / "no model"), None) as engine:
            assert (tmp_path / "server_gpu_0.log").exists() == helping.given_up  # nothing is started before a sample is wanted
            found = engine.generate([[1], [2], [3]], 2, temperature=1.0, top_p=1.0, limit=4, seed=0)
        assert found == [[[1], [1]], [[2], [2]], [[3], [3]]]
    assert sum("measuring without it: the vLLM server ended before it was ready" in note for note in notes) == 2


@pytest.mark.parametrize("override", ["model.lora={rank: 4, alpha: 8}", "rollout.helpers=false"])
def test_there_is_none_where_adapters_train_or_none_is_wanted(tmp_path, override):
    with Helpers(session_in(tmp_path, override), Notes()).engine("a/folder", None) as engine:
        assert not isinstance(engine, Several)


def test_there_is_none_where_nothing_is_known_of_the_model(tmp_path):
    """Such a run goes on without a plan, under any engine."""
    (tmp_path / "config.json").write_text('{"model_type": "of_tomorrow"}')
    for rollout in ("vllm_server", "transformers"):
        helping = Helpers(session_in(tmp_path, f"model.path={tmp_path}", f"rollout={rollout}"), Notes())
        assert helping.given_up
