"""Synthetic records in the layout of real ones, for measuring and testing the report without training anything."""

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

import numpy as np
import yaml

LEVELS = ("easy", "hard")
SAMPLING = {"temperature": 1.0, "top_p": 1.0, "max_completion_tokens": 128, "batch_size": 100}


def write_run(
    folder: Path,
    *,
    name: str = "mix_easy_hard",
    seed: int = 0,
    settings: dict[str, Any] | None = None,
    gain: float = 0.1,
    seed_spread: float = 0.0,
    problems: int = 100,
    samples: int = 2,
    steps: int = 20,
    scale: str = "micro",
    suites: tuple[str, ...] = ("chains", "validation"),
    size: int | None = None,
    operations: float | None = None,
) -> Path:
    """A finished run: `gain` is the true rise of the chance to solve a problem, `seed_spread` its standard deviation
    between seeds. `settings` are dotted keys of the configuration. The base is the same for all runs. With a `size` in
    parameters, each step says what operations and samples it took; with `operations` of a step what all had cost by then, and
    validation is there every five steps."""
    (folder / "evaluation").mkdir(parents=True)
    settings = settings or {}
    text = json.dumps([name, settings], sort_keys=True)
    rng = np.random.default_rng([seed, *text.encode()])
    config: dict[str, Any] = {
        "name": name,
        "seed": seed,
        "scale": {"name": scale, "steps": steps},
        "hardware": {"name": "CPU"},
        "evaluation": {"prompt": "training", "sampling": SAMPLING},
        "mix": {"easy_share": None},
        "reward": {"alpha": 0.1, "weights": {"accuracy": 2.0, "efficient": 0.0}},
        "choices": {"mix": "easy_hard"},
    }
    for key, value in settings.items():
        _set(config, key, value)
    (folder / "config.yaml").write_text(yaml.safe_dump(config))
    rise = gain + seed_spread * rng.standard_normal()
    _write_steps(folder, steps, rise, rng, size, operations)
    for suite in suites:
        chance = np.random.default_rng(len(suite)).beta(2, 3, problems)
        write_table(folder, suite, "before", chance, samples, np.random.default_rng(7))
        for when in ("after", "best"):
            write_table(folder, suite, when, np.clip(chance + rise, 0, 1), samples, rng)
        for step in range(5, steps + 1, 5) if operations and suite == "validation" else ():
            write_table(folder, suite, f"step_{step:05d}", np.clip(chance + rise * step / steps, 0, 1), samples, rng)
    seconds = {
        "startup": 2.0,
        "rollout": 20.0,
        "grading": 3.0,
        "training": 30.0,
        "evaluation": 9.0,
        "saving": 1.0,
        "lost": 0.0,
    }
    summary = {
        "status": "complete",
        "experiment": name,
        "scale": scale,
        "seed": seed,
        "commit": "0" * 40,
        "versions": {"math-verify": "0.9.0", "grpo-lab": "0.1.0"},
        "steps": steps,
        "best_step": steps,
        "evaluation": {suite: {} for suite in suites},
        "cost": {"usd": 0.5, "gpu_hours": 0.1, "prompt_tokens": 1000, "completion_tokens": 5000, "seconds": seconds},
    }
    if "tracking.project" in settings:
        summary["wandb"] = {"id": folder.name, "project": settings["tracking.project"], "entity": None}
    (folder / "summary.json").write_text(json.dumps(summary))
    return folder


def _set(config: dict[str, Any], key: str, value: Any) -> None:
    *groups, last = key.split(".")
    for group in groups:
        config = config.setdefault(group, {})
    config[last] = deepcopy(value)  # a group may be changed by a later key


def _write_steps(folder: Path, steps: int, rise: float, rng: np.random.Generator, size: int | None, operations: float | None) -> None:
    lines = []
    for step in range(1, steps + 1):
        accuracy = 0.4 + rise * step / steps + 0.02 * rng.standard_normal()
        line = {
            "step": step,
            "accuracy": accuracy,
            "reward/mean": 2 * accuracy,
            "reward/accuracy/mean": accuracy,
            "reward/format/mean": 0.9,
            "completion_tokens/mean": 80 - 20 * step / steps + rng.standard_normal(),
            "length_limit": 112,
            "truncated_share": 0.1,
            "entropy": 0.2 - 0.1 * step / steps,
            "kl": 0.01 * step / steps,
            "loss": 0.1,
            "grad_norm": 0.3,
            "learning_rate": 1e-4,
            "language_share": 1.0,
            "format_share": 0.9,
        }
        if size:
            line |= {"parameters/without_embeddings": size, "flops/training": 6.0 * size * 5000 * step, "samples": 12 * step}
        if operations:
            line["flops/total"] = operations * step
        if step % 5 == 0:
            line["validation/accuracy"] = accuracy
        lines.append(json.dumps(line) + "\n")
    (folder / "metrics.jsonl").write_text("".join(lines))


def write_table(
    folder: Path, suite: str, when: str, chance_P: np.ndarray, samples: int, rng: np.random.Generator
) -> None:
    """One table of the evaluation: each problem solved with its chance in each sample."""
    import pandas as pd

    problems = len(chance_P)
    correct = (rng.random((problems, samples)) < chance_P[:, None]).ravel()
    places = np.repeat(np.arange(problems), samples)
    answers = np.where(correct, "42", rng.integers(0, 5, problems * samples).astype(str))
    pd.DataFrame(
        {
            "sample": np.tile(np.arange(samples), problems),
            "problem_id": [f"{suite}{place:05d}" for place in places],
            "level": [LEVELS[place % 2] for place in places],
            "correct": correct,
            "tokens": rng.integers(20, 110, problems * samples),
            "truncated": rng.random(problems * samples) < 0.05,
            "format": True,
            "language": 1.0,
            "answer": answers,
            "reason": np.where(correct, "equal", "different"),
            "text": [f"6*7=42\n</think>\n\\boxed{{{answer}}}" for answer in answers],
        }
    ).to_parquet(folder / "evaluation" / f"{suite}_{when}.parquet", index=False)
