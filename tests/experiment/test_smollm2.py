"""A real pre-trained language model, SmolLM2-135M-Instruct, for two steps: sampled, trained, continued, published, loaded."""

import json

import pandas as pd
import torch
from conftest import command, configured

from src.experiment.run import run
from src.record.record import read_summary

SMALL = (
    "scale=smollm2", "scale.steps=2", "scale.completion_budget=16", "scale.mix_size=24", "algorithm.prompts_per_step=2",
    "hardware.device_batch_size=6", "hardware.cpu_threads=1", "evaluation.validation.problems_per_level=2",
    "evaluation.validation.samples=1", "evaluation.suites.words.pool.count=4", "evaluation.suites.words.samples=1",
    "record.checkpoint_every_steps=1", "tracking=none",
)


def asked(model, root, *more):
    return (*SMALL, f"model.path={model}", f"output_root={root}", f"run_dir={root}/run", *more)


def test_it_is_trained_continued_published_and_loaded_by_transformers(smollm2, tmp_path):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    # Out of its time after the first step, and continued with more; a hub that cannot be reached leaves what would go there.
    offline = {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    first = command(*asked(smollm2, tmp_path, "budget.hours=1e-6"), cwd=tmp_path, patience_s=900, **offline)
    folder = tmp_path / "run"
    assert first.returncode == 0 and read_summary(folder)["status"] == "out_of_budget", first.stderr[-2000:]
    hub = ("hub.push=true", "hub.repository=me/words")
    rest = command(f"resume={folder}", "budget.hours=null", *hub, cwd=tmp_path, patience_s=900, **offline)
    assert rest.returncode == 0 and "the model is ready" in rest.stdout + rest.stderr, rest.stderr[-2000:]

    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [1, 2]
    rows = pd.read_parquet(folder / "evaluation" / "words_after.parquet")
    assert rows["tokens"].max() <= 16 and rows["text"].str.contains("[A-Za-z]{3}").all()
    model, tokenizer = AutoModelForCausalLM.from_pretrained(folder / "hub"), AutoTokenizer.from_pretrained(folder / "hub")
    ids = tokenizer("What is 2 + 3?", return_tensors="pt")
    with torch.inference_mode():
        assert model(**ids).logits.shape[-1] == 49_152
    base = AutoModelForCausalLM.from_pretrained(smollm2)
    assert not torch.equal(base.model.layers[0].mlp.up_proj.weight, model.model.layers[0].mlp.up_proj.weight)


def test_adapters_are_trained_and_the_base_stays(smollm2, tmp_path):
    run(configured(*asked(smollm2, tmp_path, "model.lora={rank: 4, alpha: 8}", "scale.steps=1", "reward.weights.repetition=0.1")))
    saved = {path.name for path in (tmp_path / "run" / "checkpoints" / "checkpoint-1").iterdir()}
    assert "adapter_model.safetensors" in saved and "model.safetensors" not in saved
