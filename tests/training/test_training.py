"""Training: every experiment and algorithm runs and learns from what it should; limits take effect in the sampler."""

import json
import math
import shutil
from pathlib import Path

import pandas as pd
import pytest
from conftest import TOY, composed, configured
from test_recipes import BY_HAND

from src.common.errors import UserError
from src.common.types import Stop
from src.config.tree import parse
from src.experiment.data import prepare_data
from src.experiment.run import run
from src.experiment.trl_config import trl_config
from src.grading.grader import Grader
from src.model.load import load_tokenizer
from src.model.places import EMBEDDED
from src.run import CONF

ONE_STEP = (*TOY, "scale.steps=1", "evaluation.validation.problems_per_level=1", "evaluation.validation.samples=1",
            "~evaluation.suites.chains")


def lines(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def run_in(folder: Path, *overrides: str, **kwargs) -> dict:
    return run(configured(*overrides, f"output_root={folder}", f"run_dir={folder}/run"), **kwargs)


@pytest.mark.parametrize("experiment", sorted(path.stem for path in (CONF / "experiment").glob("*.yaml")))
def test_every_experiment_runs_at_micro_scale(experiment, tmp_path):
    size = ("hardware.device_batch_size=4", *(["lr.warmup_steps=1"] if experiment == "efficient" else []))
    assert run_in(tmp_path, f"+experiment={experiment}", *ONE_STEP, *size)["status"] == "complete"


# The others are worked out by hand in test_recipes.py and test_distill.py.
@pytest.mark.parametrize("algorithm", sorted({path.stem for path in (CONF / "algorithm").glob("*.yaml")} - {*BY_HAND, "distill"}))
def test_every_algorithm_changes_the_weights(algorithm, tmp_path):
    batch = ("algorithm.prompts_per_step=4", "algorithm.completions_per_prompt=6")
    run_in(tmp_path, f"algorithm={algorithm}", *ONE_STEP, "lr=constant", *batch)
    (line,) = lines(tmp_path / "run")
    assert line["grad_norm"] > 0 and line["learning_rate"] == pytest.approx(2e-4)


def test_float32_weights_computed_in_bfloat16_are_measured_and_trained(tmp_path):
    assert run_in(tmp_path, "+experiment=mix_easy_hard", *TOY, "scale.steps=1", "hardware.bf16=true")["status"] == "complete"


def test_any_field_of_trl_reaches_the_trainer():
    config = parse(composed("+trainer.num_iterations=2", "+trainer.adam_beta2=0.95"))
    fields = trl_config(config, Path("nowhere"))
    assert (fields.num_iterations, fields.adam_beta2) == (2, 0.95)
    assert (fields.beta, fields.loss_type, fields.learning_rate) == (0.04, "bnpo", 2e-4)
    assert fields.max_completion_length == 128 and sorted(fields.reward_weights) == [1.0, 2.0]


def test_a_value_that_trl_refuses_is_one_line():
    with pytest.raises(UserError, match="trainer: TRL refuses"):
        trl_config(parse(composed("+trainer.eval_strategy=sometimes")), Path("nowhere"))


def test_two_updates_on_the_same_completions(tmp_path):
    run_in(tmp_path, *TOY, "+trainer.num_iterations=2", "scale.steps=4", "lr=constant")
    presented = pd.read_parquet(tmp_path / "run" / "problems.parquet")
    assert len(presented) == 2 * 4  # two batches of completions for four steps
    first, second, third, _ = lines(tmp_path / "run")
    assert first["completion_tokens/mean"] is not None and second["completion_tokens/mean"] is None
    assert third["completion_tokens"] > second["completion_tokens"] == first["completion_tokens"]


def test_the_limit_takes_effect_in_the_sampler_the_record_and_the_reward(tmp_path):
    run_in(tmp_path, *TOY, "length=linear", "length.start_fraction=0.1", "reward=format_cosine",
           "record.completions_every_steps=1")
    limits = [line["length_limit"] for line in lines(tmp_path / "run")]
    assert limits == [13, 51, 90, 128]
    for number, limit in enumerate(limits, 1):
        samples = pd.read_parquet(tmp_path / "run" / "completions" / f"step_{number:05d}.parquet")
        assert samples["tokens"].max() <= limit
        assert (samples["tokens"][samples["truncated"]] == limit).all()
        wrong = samples[~samples["correct"]]
        # -0.5 at no tokens rises to 0 at the limit in force: half a cosine.
        for tokens, reward in zip(wrong["tokens"], wrong["reward/cosine"], strict=True):
            assert reward == pytest.approx(-0.25 * (1 + math.cos(math.pi * tokens / limit)), abs=1e-6)


def test_training_stops_where_the_context_does(tmp_path):
    shutil.copytree(EMBEDDED["embedded/micro"], tmp_path / "model")
    settings = tmp_path / "model" / "config.json"
    settings.write_text(json.dumps(json.loads(settings.read_text()) | {"max_position_embeddings": 160}))
    run_in(tmp_path, *ONE_STEP, f"model.path={tmp_path / 'model'}", "record.completions_every_steps=1")
    [line] = lines(tmp_path / "run")
    assert line["length_limit"] == 128 > line["completion_tokens/max"] and line["truncated_share"] > 0
    assert line["completion_tokens/max"] + line["prompt_tokens"] / 24 <= 160  # 24 completions in a step


def test_the_adaptive_limit_grows_on_truncation(tmp_path):
    run_in(tmp_path, *TOY, "length=adaptive", "length.start_fraction=0.1", "length.min_fraction=0.1",
           "length.window_steps=1", "length.grow_factor=2")
    limits = [line["length_limit"] for line in lines(tmp_path / "run")]
    assert limits[:3] == [13, 26, 51]


def test_a_watch_ends_a_run_in_order(tmp_path):
    def bad(line, measured):
        return Stop("pruned", "worse than the median") if measured and line["step"] == 2 else None

    summary = run_in(tmp_path, *TOY, watches=[bad])
    assert (summary["status"], summary["reason"], summary["steps"]) == ("pruned", "worse than the median", 2)
    assert [line["step"] for line in lines(tmp_path / "run")] == [1, 2]
    assert (tmp_path / "run" / "checkpoints" / "checkpoint-2").is_dir()
    assert summary["cost"]["seconds"]["training"] > 0


def test_problems_are_presented_in_the_order_of_the_mix(tmp_path):
    config = configured(*TOY, "mix=balanced", "mix.order=easy_first", "mix.size=16", f"output_root={tmp_path}")
    with Grader() as grader:
        data = prepare_data(config, load_tokenizer(config.model), grader)
    assert [problem.level for problem in data.presentations] == ["easy"] * 8 + ["hard"] * 8


def test_prompts_over_the_budget_are_dropped_and_counted():
    config = configured(*TOY, "scale.prompt_budget=57")
    tokenizer = load_tokenizer(config.model)
    with Grader() as grader:
        data = prepare_data(config, tokenizer, grader)
        assert sum(data.too_long.values()) > 0
        with pytest.raises(UserError, match="scale.prompt_budget"):
            prepare_data(configured(*TOY, "scale.prompt_budget=10"), tokenizer, grader)
