"""GRPO steps of the Open-RS batch on one GPU: seconds by phase, memory, utilisation, against a bare TRL script.

    python benchmarks/gpu.py                 # one H200: 12 prompts x 6 completions x 3,584 tokens, bare TRL and plain
    python benchmarks/gpu.py --all           # and every variant of VARIANTS that this environment has the packages for
    python benchmarks/gpu.py --ours "rollout=vllm_colocate hardware.device_batch_size=24"      # another one
    python benchmarks/gpu.py --toy           # the same end to end in a minute, on a CPU too

The model is DeepSeek-R1-Distill-Qwen-1.5B's architecture with random weights; every completion is forced to its full
length. Each variant is `src.run` under scale=h200, and the bare script has TRL's defaults but for the batch, the
algorithm's settings and the length; each runs in a process of its own, in turn, on the same GPU. The first step of each
learns from the same completions and rewards, and its gradient is compared with bare TRL's (benchmarks/same_batch.py).
Variants of natural lengths learn, from the second step on, from completions cut to lengths as the model's own would have; they
are compared with each other.

Clocks: the device is synchronised at both ends of each phase. Utilisation: FLOPs that the training phase needs (2 a
weight and token for each scoring pass, 6 for forward and backward, attention; recomputation not counted) over its time
and the peak rate. Floor: weights read once a token for the whole batch and each completion's cache, over the bandwidth.
"""

import argparse
import importlib.util
import json
import os
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from src.hardware.gpus import visible_gpus

WARM_UP = 1
NATURAL = 6000 / 3584  # mean length of a completion that nothing cuts off, over the limit: conf/scale/h200.yaml
EQUAL = 0.05  # relative difference of the first gradient's norm: bfloat16 in some, sums in another order
PHASES = ("rollout", "log-probabilities", "forward and backward", "optimiser", "sync", "rest")
SETTINGS = ("loss_type", "beta", "epsilon", "num_iterations", "scale_rewards", "use_bias_correction_kl")


@dataclass(frozen=True)
class Variant:
    """Overrides of `src.run`, and a package without which it is left out."""

    overrides: str
    package: str | None = None
    natural: bool = False  # lengths


# Each setting that may make scale=h200 faster, against "plain". TRL 1.16 never holds all logits (a tile at a time), with
# Liger or without; it has no padding-free passes: flash attention leaves padding out of attention alone.
VARIANTS = {
    "plain": Variant("rollout=transformers"),
    "continuous batching": Variant(
        "rollout=transformers model.dtype=bfloat16 +trainer.use_transformers_continuous_batching=true"
    ),
    "vLLM, asleep in training": Variant("rollout=vllm_colocate", "vllm"),
    "vLLM, awake": Variant("rollout=vllm_colocate rollout.sleep=false", "vllm"),
    "vLLM, its weights not checked": Variant(
        "rollout=vllm_colocate +trainer.vllm_importance_sampling_correction=false", "vllm"
    ),
    "no recomputation": Variant("rollout=transformers hardware.gradient_checkpointing=false"),
    "passes twice as large": Variant("rollout=transformers hardware.device_batch_size={double}"),
    "bfloat16 weights": Variant("rollout=transformers model.dtype=bfloat16"),
    "float32 throughout": Variant("rollout=transformers hardware.bf16=false"),
    "eager attention": Variant("rollout=transformers model.attention=eager"),
    "flash attention": Variant("rollout=transformers model.attention=flash_attention_2", "flash_attn"),
    "Liger's kernels": Variant("rollout=transformers +trainer.use_liger_kernel=true", "liger_kernel"),
    "natural lengths": Variant(
        "rollout=transformers +trainer.loss_type=dapo algorithm.length_sorted=false", natural=True
    ),
    "natural lengths, passes sorted by length": Variant(
        "rollout=transformers +trainer.loss_type=dapo algorithm.length_sorted=true", natural=True
    ),
}


@dataclass(frozen=True)
class Work:
    """What both sides do."""

    scale: str
    model: str
    hardware: str
    prompts: int
    group: int
    tokens: int
    batch: int  # of a pass

    def overrides(self, variant: str, steps: int, folder: Path) -> list[str]:
        """The command line of `src.run`; `variant` comes last."""
        rollout = variant if "rollout=" in variant else {"h200": "vllm"}.get(self.scale, "")  # that of the scale
        force = "min_tokens" if "rollout=vllm" in rollout or rollout == "vllm" else "min_new_tokens"
        return [
            "+experiment=mix_easy_hard", f"scale={self.scale}", f"model={self.model}", "model.init=random",
            "model.tokenizer=embedded/micro", "problems=micro", "mix.size=1400", "evaluation=micro",
            "~evaluation.suites.chains", "~evaluation.suites.chains_long", "evaluation.validation.problems_per_level=1", "evaluation.validation.samples=1",
            "evaluation.validation.every_steps=100000", "evaluation.sampling.max_completion_tokens=8", "tracking=none",
            f"hardware={self.hardware}", f"algorithm.prompts_per_step={self.prompts}",
            f"algorithm.completions_per_prompt={self.group}", f"hardware.device_batch_size={self.batch}",
            f"scale.completion_budget={self.tokens}", "length.fraction=1.0", f"scale.steps={steps}",
            f"+trainer.generation_kwargs={{{force}: {self.tokens}}}", "record.checkpoint_every_steps=100000",
            f"run_dir={folder}/run", f"output_root={folder}",
            *shlex.split(variant.replace("{double}", str(2 * self.batch))),
        ]


FULL = Work("h200", "deepseek_r1_distill_qwen_1_5b", "h200", prompts=12, group=6, tokens=3584, batch=6)
TOY = Work("micro", "micro", "h200" if visible_gpus() else "cpu", prompts=2, group=2, tokens=16, batch=2)


class Clock:
    """Charges seconds of each step to phases, the innermost one that is open, by hooks on TRL's trainer."""

    def __init__(self) -> None:
        self.steps: list[dict[str, float]] = []
        self.now: dict[str, float] = defaultdict(float)
        self.open = ["rest"]
        self.charged = time.perf_counter()
        self.first_gradient: float | None = None
        self.lengths: list[int] = []  # of completions that were cut

    def charge(self) -> None:
        import torch

        if torch.cuda.is_available():
            torch.cuda.synchronize()
        now = time.perf_counter()
        self.now[self.open[-1]] += now - self.charged
        self.charged = now

    @contextmanager
    def phase(self, name: str):
        self.charge()
        self.open.append(name)
        try:
            yield
        finally:
            self.charge()
            self.open.pop()

    def end_step(self) -> None:
        self.charge()
        self.steps.append(dict(self.now))
        self.now = defaultdict(float)

    def around(self, owner, method: str, name_of) -> None:
        original = getattr(owner, method)

        def timed(this, *args, **kwargs):
            with self.phase(name_of()):
                return original(this, *args, **kwargs)

        setattr(owner, method, timed)

    def note_gradient(self, norm: float) -> None:
        self.first_gradient = norm

    def install(self, work: Work, natural: bool = False) -> None:
        """Hook the phases of a step that learns from the same completions as the others' do."""
        from trl.generation.vllm_generation import VLLMGeneration

        from benchmarks.same_batch import cut_later_ones, learn_from_the_same

        learn_from_the_same(work.group, work.tokens, self.note_gradient)
        if natural:
            cut_later_ones(work.tokens, NATURAL * work.tokens, self.lengths)
        self.around(VLLMGeneration, "sync_weights", lambda: "sync")
        self.hook_phases()

    def hook_phases(self) -> None:
        """Whatever is outside them (grading, logging) is `rest`."""
        import torch
        from torch.optim.optimizer import register_optimizer_step_post_hook, register_optimizer_step_pre_hook
        from transformers import Trainer
        from trl import GRPOTrainer

        self.around(GRPOTrainer, "_generate", lambda: "rollout")
        self.around(Trainer, "training_step", lambda: "forward and backward")
        self.around(GRPOTrainer, "_generate_and_score_completions", lambda: "rest")
        self.around(
            GRPOTrainer, "_get_per_token_logps_and_entropies",
            lambda: "forward and backward" if torch.is_grad_enabled() else "log-probabilities",
        )
        register_optimizer_step_pre_hook(self.begin_update)
        register_optimizer_step_post_hook(self.end_update)

    def begin_update(self, *_) -> None:
        self.charge()
        self.open.append("optimiser")

    def end_update(self, *_) -> None:
        self.charge()
        self.open.pop()


def config_of(work: Work, variant: str, steps: int, folder: Path):
    """The validated configuration of a variant."""
    from src.run import configured

    return configured(*work.overrides(variant, steps, folder))


def run_ours(work: Work, variant: str, natural: bool, steps: int, folder: Path) -> dict:
    """`src.run` in this process, its steps timed."""
    from src.experiment.preparing import prepare_libraries
    from src.experiment.run import run

    config = config_of(work, variant, steps, folder)
    prepare_libraries(config)
    clock = Clock()
    clock.install(work, natural)
    summary = run(config, watches=[lambda line, measured: clock.end_step()])
    return figures(work, config, clock) | {"status": summary["status"]}


def run_bare(work: Work, steps: int, folder: Path) -> dict:
    """A plain TRL script in this process, its steps timed."""
    config, clock = config_of(work, "rollout=transformers", steps, folder), Clock()
    clock.install(work)
    train_bare(work, config, clock, steps, folder)
    return figures(work, config, clock)


def train_bare(work: Work, config, clock: Clock, steps: int, folder: Path) -> None:
    """TRL's defaults, the same model, questions, batch, length and algorithm settings."""
    import torch
    from datasets import Dataset
    from transformers import TrainerCallback
    from trl import GRPOConfig, GRPOTrainer

    from src.micro.tasks import make_problems
    from src.model.load import load_tokenizer
    from src.model.random_init import make_random

    model = make_random(config.model, load_tokenizer(config.model))
    questions = [problem.question for problem in make_problems("core", work.prompts * steps, 0)]
    data = Dataset.from_list([{"prompt": [{"role": "user", "content": question}]} for question in questions])
    if config.hardware.cpu_threads:
        torch.set_num_threads(config.hardware.cpu_threads)

    class EndOfStep(TrainerCallback):
        def on_step_end(self, *_, **__):
            clock.end_step()

    cpu = {"use_cpu": True, "bf16": False} if config.hardware.device == "cpu" else {}
    arguments = GRPOConfig(
        output_dir=str(folder / "bare"), max_steps=steps, per_device_train_batch_size=work.batch,
        gradient_accumulation_steps=work.prompts * work.group // work.batch, num_generations=work.group,
        max_completion_length=work.tokens, generation_kwargs={"min_new_tokens": work.tokens}, report_to="none",
        save_strategy="no", disable_tqdm=True, **cpu,
        **{key: value for key, value in config.algorithm.settings.items() if key in SETTINGS},
    )
    reward = lambda completions, **_: [float(len(message[0]["content"]) % 7) for message in completions]
    GRPOTrainer(str(model), reward, arguments, data, callbacks=[EndOfStep()]).train()


def figures(work: Work, config, clock: Clock) -> dict:
    """Medians over the steps after warm-up, and what follows from them."""
    import resource

    import torch

    from src.model.architecture import architecture
    from src.plan.cost_model import model_flops
    from src.plan.workload import workload

    steps = clock.steps[WARM_UP:]
    seconds = {phase: statistics.median(step.get(phase, 0.0) for step in steps) for phase in PHASES}
    shape, spec = architecture(config.model), config.hardware.known_spec
    w = workload(config, shape)
    sequences, prompt = work.prompts * work.group, w.prompt_mean
    learnt = round(statistics.fmean(clock.lengths)) if clock.lengths else work.tokens  # of a completion, padding not counted
    length = prompt + learnt
    scoring = w.extra_forwards * sequences * (shape.forward_flops(length, length / 2) + shape.head_flops(learnt))
    full = forced(w)
    training = seconds["log-probabilities"] + seconds["forward and backward"] + seconds["optimiser"]
    bytes_read = work.tokens * (
        (shape.block_weights + shape.head_weights) * w.element_bytes
        + sequences * (prompt + work.tokens / 2) * shape.cache_bytes_per_token(w.element_bytes)
    )
    sampled = sequences * work.tokens
    cuda = torch.cuda.is_available()
    peak = torch.cuda.max_memory_allocated() if cuda else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {
        "device": torch.cuda.get_device_name() if cuda else "CPU",
        "seconds": seconds, "seconds_per_step": statistics.median(sum(step.values()) for step in steps),
        "rollout_tokens_per_s": sampled / seconds["rollout"], "training_tokens_per_s": sequences * length / training,
        "peak_gb": peak / 1e9,
        "training_mfu": (model_flops(full, learnt) + scoring) / training / (spec.peak_tflops * 1e12),
        "rollout_floor_share": bytes_read / (spec.bandwidth_gb_per_s * 1e9) / seconds["rollout"],
        "first_gradient": clock.first_gradient, "steps": clock.steps,
    }


def forced(w):
    """The workload with every completion at its limit."""
    from dataclasses import replace

    return replace(w, natural=1e9)


def in_a_process(arguments: argparse.Namespace, side: str, variant: Variant) -> dict:
    """Run one side in a process of its own, so that each starts with an empty device."""
    with tempfile.TemporaryDirectory() as folder:
        result = Path(folder) / "result.json"
        command = [sys.executable, __file__, "--side", side, "--variant", variant.overrides, "--steps", str(arguments.steps),
                   "--folder", folder, *(["--toy"] if arguments.toy else []), *(["--natural"] if variant.natural else [])]
        environment = os.environ | ({"OMP_NUM_THREADS": "1"} if arguments.toy else {})
        done = subprocess.run(command, env=environment, stdout=sys.stderr, check=False)
        if done.returncode:
            return {"failed": done.returncode}
        return json.loads(result.read_text())


def show(name: str, found: dict, bare: dict | None) -> None:
    if "failed" in found:
        print(f"{name}: failed with exit code {found['failed']} (its words are above)", flush=True)
        return
    phases = "  ".join(f"{phase} {seconds:.2f}" for phase, seconds in found["seconds"].items())
    print(f"{name} on {found['device']}\n  {found['seconds_per_step']:.2f} s a step: {phases}")
    print(f"  rollout {found['rollout_tokens_per_s']:,.0f} tokens/s, {100 * found['rollout_floor_share']:.1f} % of the "
          f"bandwidth floor; training {found['training_tokens_per_s']:,.0f} tokens/s, "
          f"{100 * found['training_mfu']:.1f} % model FLOP utilisation; peak {found['peak_gb']:.2f} GB")
    if bare and "failed" not in bare:
        difference = abs(found["first_gradient"] / bare["first_gradient"] - 1)
        print(f"  gradient on the same completions: {found['first_gradient']:.4g}, bare {bare['first_gradient']:.4g}: "
              f"{'equal' if difference <= EQUAL else 'NOT EQUAL'} ({100 * difference:.2f} % apart)")
        print(f"  {bare['seconds_per_step'] / found['seconds_per_step']:.2f} times bare TRL's steps per hour, "
              f"{found['peak_gb'] / bare['peak_gb']:.2f} times its memory", flush=True)


def chosen(arguments: argparse.Namespace) -> dict[str, Variant]:
    """The variants to measure, by name."""
    if arguments.all:
        return VARIANTS
    return {text: Variant(text) for text in arguments.ours or ()} or {"plain": VARIANTS["plain"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--toy", action="store_true", help="the embedded model and 16 tokens")
    parser.add_argument("--steps", type=int, default=3, help=f"with {WARM_UP} of warm-up")
    parser.add_argument("--ours", action="append", help="overrides of a variant; may be given several times")
    parser.add_argument("--all", action="store_true", help="measure every variant of VARIANTS")
    parser.add_argument("--no-bare", action="store_true")
    parser.add_argument("--out", type=Path, help="write all figures as JSON")
    for hidden in ("--side", "--variant", "--folder"):
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    parser.add_argument("--natural", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    work = TOY if arguments.toy else FULL
    if arguments.steps <= WARM_UP:
        parser.error(f"--steps must be more than the {WARM_UP} of warm-up")
    if arguments.side:
        folder = Path(arguments.folder)
        sides = {"ours": lambda: run_ours(work, arguments.variant, arguments.natural, arguments.steps, folder),
                 "bare": lambda: run_bare(work, arguments.steps, folder)}
        (folder / "result.json").write_text(json.dumps(sides[arguments.side]()))
        return
    bare = None if arguments.no_bare else in_a_process(arguments, "bare", Variant(""))
    found = {"bare TRL": bare} if bare else {}
    if bare:
        show("bare TRL", bare, None)
    for name, variant in chosen(arguments).items():
        if variant.package and importlib.util.find_spec(variant.package) is None:
            found[name] = {"left_out": variant.package}
            print(f"{name}: left out, since {variant.package} is not installed", flush=True)
            continue
        found[name] = in_a_process(arguments, "ours", variant)
        show(f"src.run, {name} ({variant.overrides})", found[name], bare)
    if arguments.out:
        arguments.out.write_text(json.dumps(found, indent=2))
    if any("failed" in one for one in found.values()):
        sys.exit(1)


if __name__ == "__main__":
    main()
