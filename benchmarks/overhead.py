"""What the harness costs a step: the same micro training by a bare TRL script and by `src.run`, in turn.

    python benchmarks/overhead.py [--rounds 3] [--steps 30]

Same weights, problems in the same order, batch, algorithm, rewards, limit, learning rate and threads. The bare script
has TRL's own rewards and keeps no record; `src.run` keeps its whole record, with evaluation off. Each round times both
in processes of their own; the figure is the median ratio of the rounds. Steps 1 and 2 of each are warm-up.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

WARM_UP = 2
SETTINGS = ("+experiment=mix_easy_hard", "~evaluation.suites.chains", "~evaluation.suites.chains_long",
            "evaluation.validation.problems_per_level=1",
            "evaluation.validation.samples=1", "evaluation.validation.every_steps=1000", "tracking=none")


def time_run(steps: int, folder: Path) -> float:
    """Seconds a step of `src.run`, everything but evaluation counted."""
    command = [sys.executable, "-m", "src.run", *SETTINGS, f"scale.steps={steps}", f"run_dir={folder}",
               f"output_root={folder.parent}"]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    phases = ("rollout", "grading", "training", "saving")
    return statistics.fmean(sum(line[f"seconds/{phase}"] for phase in phases) for line in lines[WARM_UP:])


def time_bare(recorded: Path) -> float:
    """Seconds a step of the bare script, on what the run in `recorded` trained on."""
    output = subprocess.run([sys.executable, __file__, "--bare", recorded], check=True, capture_output=True, text=True)
    return float(output.stdout.splitlines()[-1])


def bare(recorded: Path) -> None:
    """A plain TRL script: nothing of the harness but the model's folder and the problems."""
    import pandas as pd
    import torch
    import yaml
    from datasets import Dataset
    from transformers import TrainerCallback
    from trl import GRPOConfig, GRPOTrainer
    from trl.rewards import accuracy_reward

    from src.micro import WEIGHTS

    config = yaml.safe_load((recorded / "config.yaml").read_text())
    torch.set_num_threads(config["hardware"]["cpu_threads"])
    problems = pd.read_parquet(recorded / "problems.parquet")
    data = Dataset.from_list([
        {
            "prompt": [{"role": "system", "content": config["prompt"]["system"]}, {"role": "user", "content": question}],
            "solution": f"${answer}$",
        }
        for question, answer in zip(problems["question"], problems["answer"], strict=True)
    ])

    def closes_reasoning(completions, **_):
        return [float(message[0]["content"].count("\n</think>\n") == 1) for message in completions]

    class Clock(TrainerCallback):
        ends: list[float] = []

        def on_step_end(self, args, state, control, **_):
            self.ends.append(time.perf_counter())

    batch = config["hardware"]["device_batch_size"]
    per_step = config["algorithm"]["completions_per_prompt"] * config["algorithm"]["prompts_per_step"]
    arguments = GRPOConfig(
        output_dir=str(recorded / "bare"), seed=config["seed"], max_steps=config["scale"]["steps"],
        per_device_train_batch_size=batch, gradient_accumulation_steps=per_step // batch,
        num_generations=config["algorithm"]["completions_per_prompt"], max_completion_length=112,
        temperature=config["rollout"]["temperature"], learning_rate=config["lr"]["peak"],
        lr_scheduler_type="cosine_with_min_lr", lr_scheduler_kwargs={"min_lr_rate": 0.1},
        warmup_steps=round(0.1 * config["scale"]["steps"]), reward_weights=[1.0, 2.0], shuffle_dataset=False,
        gradient_checkpointing=False, bf16=False, use_cpu=True, report_to="none", save_strategy="no",
        disable_tqdm=True, **config["algorithm"]["settings"],
    )
    trainer = GRPOTrainer(str(WEIGHTS), [closes_reasoning, accuracy_reward], arguments, data, callbacks=[Clock()])
    trainer.train()
    ends = Clock.ends[WARM_UP - 1 :]
    print((ends[-1] - ends[0]) / (len(ends) - 1))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=30)
    parser.add_argument("--bare", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.bare:
        return bare(arguments.bare)
    ratios = []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(1, arguments.rounds + 1):
            recorded = Path(folder) / f"run_{number}"
            ours, theirs = time_run(arguments.steps, recorded), time_bare(recorded)
            ratios.append(ours / theirs)
            print(f"round {number}: src.run {ours:.3f} s/step, bare TRL {theirs:.3f} s/step, ratio {ratios[-1]:.3f}")
    print(f"median ratio {statistics.median(ratios):.3f} (at most 1.05 wanted)")


if __name__ == "__main__":
    main()
