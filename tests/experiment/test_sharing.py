"""Measuring on all training processes: every process draws a part, and the samples are those that one process draws."""

import json
import socket
import subprocess
import sys
from pathlib import Path

import pandas as pd
from conftest import ROOT, TOY

# A rank of two: rank 0 measures with the other's help, and both say how many prompts they sampled for.
RANK = """
import json, sys
from pathlib import Path
from types import SimpleNamespace
import torch
from accelerate import PartialState
from src.experiment.sharing import engine_of, helped, load, serve
from src.grading.completions import end_tokens
from src.hardware.ranks import is_first
from src.model.load import load_model, load_tokenizer
from src.rollout.in_process import TransformersEngine
from src.run import configured

config = configured("evaluation.until.samples_per_round=2")
tokenizer, model = load_tokenizer(config.model), load_model(config.model)
prompts = [tokenizer(f"{number} + 1 = ?")["input_ids"] for number in range(5)]
asked = []
generate = TransformersEngine.generate
TransformersEngine.generate = lambda self, prompts, *rest, **how: asked.append(len(prompts)) or generate(self, prompts, *rest, **how)
trainer = SimpleNamespace(
    whole=None, policy=model, processing_class=tokenizer, ends=end_tokens(tokenizer, model.generation_config),
    accelerator=SimpleNamespace(device=torch.device("cpu")), sampling_dtype=None,
)
session = SimpleNamespace(config=config, trainer=trainer, policy=model)
PartialState(cpu=True)
found = None
if is_first():
    with helped(session):
        load(session, Path(sys.argv[1]))
        found = engine_of(session).generate(prompts, 2, temperature=1.0, top_p=1.0, limit=16, seed=3)
else:
    with torch.no_grad():
        next(model.parameters()).zero_()  # what rank 0 loads is what this one samples from
    serve(session)
print(json.dumps([asked, found]))
"""


def started(processes: int) -> list[subprocess.Popen]:
    from src.model.places import EMBEDDED

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    common = {"WORLD_SIZE": str(processes), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1"}
    return [
        subprocess.Popen(
            [sys.executable, "-c", RANK, str(EMBEDDED["embedded/micro"])], cwd=ROOT, stdout=subprocess.PIPE, text=True,
            env=common | {"RANK": str(rank), "LOCAL_RANK": str(rank), "PYTHONPATH": str(ROOT)},
        )
        for rank in range(processes)
    ]  # fmt: skip


def test_each_process_samples_a_part_from_the_same_weights_and_rank_0_has_it_all():
    told = [[json.loads(each.communicate(timeout=300)[0]) for each in started(processes)] for processes in (1, 2)]
    ((asked_alone, alone),), ((asked_first, shared), (asked_second, nothing)) = told
    assert (asked_alone, asked_first, asked_second, nothing) == ([5], [3], [2], None)
    assert shared == alone and len(shared) == 5


def test_a_run_of_two_processes_measures_what_one_process_does(tmp_path):
    folders = []
    for processes in (1, 2):
        folders.append(tmp_path / str(processes) / "run")
        arguments = [*TOY, "scale.steps=2", "evaluation.suites.chains.samples=4", "evaluation.until.samples_per_round=2"]
        arguments += [f"hardware.processes={processes}", f"output_root={folders[-1].parent}", f"run_dir={folders[-1]}"]
        ended = subprocess.run(
            [sys.executable, "-m", "src.run", "+experiment=mix_easy_hard", *arguments], cwd=ROOT, capture_output=True, text=True, timeout=900,
        )  # fmt: skip
        assert ended.returncode == 0, ended.stderr
    one, two = (pd.read_parquet(folder / "evaluation" / "chains_before.parquet") for folder in folders)
    assert one.equals(two) and set(one["round"]) == {0, 1} and one["problem_id"].value_counts().eq(4).all()
    summaries = [json.loads((Path(folder) / "summary.json").read_text()) for folder in folders]
    assert [summary["status"] for summary in summaries] == ["complete"] * 2
    assert summaries[0]["evaluation"]["validation"]["before"] == summaries[1]["evaluation"]["validation"]["before"]
    assert {"after", "best"} < set(summaries[1]["evaluation"]["chains"])
