"""First contact with a GPU: what decides the most, in one command of under eight minutes.

    python benchmarks/first_contact.py --out first_contact.json       # on one GPU; --seconds 480 in all
    python benchmarks/first_contact.py --toy                          # its rehearsal, on a CPU too

Each part runs in a process of its own with a limit of its own, and its result is written before the next begins, so a part
that hangs or dies costs itself alone. In the order of what a first user would meet:

  machine     versions, the card, its measured matrix rate and memory bandwidth, against what the plan assumes
  fork        two trials of a sweep, forked from a nursery in which CUDA was not initialised
  precision   float32 weights computed in bfloat16, sampled and measured, on the embedded model
  bare …      training steps of DeepSeek-R1-Distill-Qwen-1.5B's shape on given completions of unequal lengths (nothing is
              sampled): a bare TRL script, and this project padded, unpadded, with FlexAttention and with bfloat16 weights:
              seconds by phase, peak memory, model FLOP utilisation, against the plan
  long        one pass forward and backward over completions of 32,512 tokens; a checkpoint; the fingerprint
  decoding    a token for 72 rows, with a static and a growing cache and TRL's continuous batching, against the bandwidth floor
  learning    the embedded model trained for as many steps as time is left for, and its gain

The floor of decoding: weights read once a token for all rows and each row's cache, over the measured bandwidth.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from benchmarks.gpu import Clock, Work, figures, forced, train_bare
from src.hardware.gpus import visible_gpus

# Of the limit: no two alike, the longest first in the row, as in training they are.
SHARES = (1.0, 0.9, 0.62, 0.45, 0.3, 0.17)
STEPS = 3  # of training, the first to warm up
SMALL = (
    "+experiment=mix_easy_hard", "scale.steps=4", "algorithm.prompts_per_step=4", "hardware.device_batch_size=12",
    "evaluation.validation.problems_per_level=6", "evaluation.validation.samples=2", "evaluation.validation.every_steps=2",
    "evaluation.suites.chains.pool.count=8", "evaluation.suites.chains.samples=1", "~evaluation.suites.chains_long",
    "tracking=none",
)
TRAINING = {
    "bare TRL": None,
    "padded": "algorithm.length_sorted=false",
    "unpadded": "algorithm.length_sorted=true",
    "flex attention": "algorithm.length_sorted=true model.attention=flex_attention",
    "bfloat16 weights": "algorithm.length_sorted=true model.dtype=bfloat16",
}


def profile() -> str:
    """The hardware option of this machine."""
    import torch

    if not torch.cuda.is_available():
        return "cpu"
    return "h200" if "H200" in torch.cuda.get_device_name() else "h100"


def work(toy: bool) -> Work:
    """One prompt's completions, in one pass."""
    if toy:
        return Work("micro", "micro", profile(), prompts=1, group=6, tokens=48, batch=6)
    return Work("h200", "deepseek_r1_distill_qwen_1_5b", profile(), prompts=1, group=6, tokens=4096, batch=6)


# Parts -------------------------------------------------------------------------------------------------------------------


def machine(toy: bool) -> dict[str, Any]:
    import importlib.metadata

    import torch

    started = time.perf_counter()
    import trl  # noqa: F401 - to time it

    found: dict[str, Any] = {"import_s": time.perf_counter() - started, "python": sys.version.split()[0]}
    found |= {name: importlib.metadata.version(name) for name in ("torch", "transformers", "trl", "accelerate")}
    cuda = torch.cuda.is_available()
    found["device"] = torch.cuda.get_device_name() if cuda else "CPU"
    size, dtype = (8192, torch.bfloat16) if cuda else (512, torch.float32)
    a = torch.randn(size, size, device="cuda" if cuda else "cpu").to(dtype)
    found["matrix_tflops"] = 2 * size**3 / seconds_of(lambda: a @ a) / 1e12
    b = torch.empty(2**30 if cuda else 2**24, dtype=torch.uint8, device=a.device)
    found["bandwidth_gb_per_s"] = 2 * b.numel() / seconds_of(b.clone) / 1e9  # read and written
    return found


def seconds_of(call: Callable[[], Any], repeats: int = 5) -> float:
    """The median time of a call, the device waited for."""
    import torch

    times = []
    for _ in range(repeats + 1):
        wait()
        started = time.perf_counter()
        call()
        wait()
        times.append(time.perf_counter() - started)
    torch.cuda.empty_cache()
    return median(times[1:])


def wait() -> None:
    import torch

    if torch.cuda.is_available():
        torch.cuda.synchronize()


def fork(toy: bool) -> dict[str, Any]:
    import torch

    from src.sweep.engines.nursery import import_libraries

    import_libraries()
    found = {"cuda_initialised_before_the_fork": torch.cuda.is_initialized()}
    with tempfile.TemporaryDirectory() as folder:
        command(folder, "-m", *SMALL, f"hardware={profile()}", "lr.peak=1e-4,3e-4", "sweep.sampler=grid", "sweep.n_jobs=1",
                "sweep.pruner=none", "sweep.study_name=two", "scale.steps=2")
        trials = [json.loads(path.read_text()) for path in Path(folder).glob("sweeps/two/trials/*/summary.json")]
    return found | {"trials": [trial["status"] for trial in trials]}


def precision(toy: bool) -> dict[str, Any]:
    with tempfile.TemporaryDirectory() as folder:
        command(folder, *SMALL, f"hardware={profile()}", "hardware.bf16=true", f"run_dir={folder}/run")
        summary = json.loads(Path(folder, "run", "summary.json").read_text())
    return {"status": summary["status"], "accuracy": summary["evaluation"]["validation"]["before"]["accuracy"],
            "seconds": summary["cost"]["seconds"]}


def command(folder: str, *arguments: str) -> None:
    """`python -m src.run`; what it prints stands in the log of the part."""
    subprocess.run(
        [sys.executable, "-m", "src.run", *arguments, f"output_root={folder}"], cwd=ROOT, check=True, stdin=subprocess.DEVNULL
    )


def given_completions(lengths: list[int]) -> None:
    """Have TRL's trainer learn from random completions of these lengths in the place of sampled ones."""
    import random

    from trl import GRPOTrainer

    def given(trainer: Any, prompt_ids: list, *_: Any, **__: Any) -> tuple:
        rng = random.Random(trainer.state.global_step)
        drawn = [[rng.randrange(5, 60) for _ in range(lengths[row % len(lengths)])] for row in range(len(prompt_ids))]
        return drawn, None

    GRPOTrainer._generate_single_turn = given
    rewards = GRPOTrainer._calculate_rewards

    def unequal(trainer: Any, *args: Any, **kwargs: Any) -> Any:
        import torch

        real = rewards(trainer, *args, **kwargs)
        return real * 0 + (torch.arange(len(real), device=real.device, dtype=real.dtype) % 3)[:, None]

    GRPOTrainer._calculate_rewards = unequal


def training(name: str, toy: bool) -> dict[str, Any]:
    """Steps of one variant of TRAINING, their phases timed."""
    from src.run import configured

    its, overrides = work(toy), TRAINING[name]
    lengths = [round(share * its.tokens) for share in SHARES]
    given_completions(lengths)
    clock = Clock()
    with tempfile.TemporaryDirectory() as folder:
        changes = f"rollout=transformers {overrides or 'algorithm.length_sorted=false'}"
        config = configured(*its.overrides(changes, STEPS, Path(folder)), "record.completions_every_steps=100000")
        clock.hook_phases()
        if overrides is None:
            train_bare(its, config, clock, STEPS, Path(folder))
        else:
            from src.experiment.preparing import prepare_libraries
            from src.experiment.run import run

            prepare_libraries(config)
            run(config, watches=[lambda line, measured: clock.end_step()])
    clock.lengths = lengths * its.prompts  # what was learnt from, for the utilisation
    found = figures(its, config, clock)
    keep = ("device", "seconds", "seconds_per_step", "training_tokens_per_s", "peak_gb", "training_mfu")
    return {key: found[key] for key in keep} | {"planned": planned(config, lengths)}


def planned(config: Any, lengths: list[int]) -> dict[str, float]:
    """What the plan says of the training phase of a step, every completion as long as the mean, and of its memory."""
    from dataclasses import replace

    from src.model.architecture import architecture
    from src.plan.cost_model import GB, memory, peak_memory, seconds
    from src.plan.workload import workload

    w, spec = workload(config, architecture(config.model)), config.hardware.spec
    mean = round(sum(lengths) / len(lengths))
    at_mean = replace(forced(w), limits=(mean,) * len(w.limits))
    return {
        "seconds": seconds(at_mean, spec)["training"] / w.steps, "peak_gb": peak_memory(w, memory(w, spec))[0] / GB,
    }


def long(toy: bool) -> dict[str, Any]:
    """A pass of 8 completions at the longest limit, recomputed layer by layer as in training."""
    import torch

    from src.model.load import fingerprint

    rows, columns = (2, 64) if toy else (8, 32_512)
    model = model_of(toy, dtype="bfloat16" if torch.cuda.is_available() else "float32")
    model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    model.train()

    def one_by_one() -> None:
        for row in range(rows):
            ids = torch.randint(5, 60, (1, columns), device=model.device)
            hidden = model.model(input_ids=ids).last_hidden_state
            # The output layer a piece at a time, as TRL does; what is learnt does not matter here.
            sum(model.lm_head(piece).float().logsumexp(-1).mean() for piece in hidden.split(1024, dim=1)).backward()
            del hidden, row

    started = time.perf_counter()
    one_by_one()
    wait()
    found = {"rows": rows, "columns": columns, "pass_s": time.perf_counter() - started, "peak_gb": peak_gb()}
    started = time.perf_counter()
    fingerprint(model)
    found["fingerprint_s"] = time.perf_counter() - started
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        model.save_pretrained(folder)
        found["saving_s"] = time.perf_counter() - started
        found["saved_gb"] = sum(path.stat().st_size for path in Path(folder).iterdir()) / 1e9
    return found


def peak_gb() -> float:
    import resource

    import torch

    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 1e9
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9


def model_of(toy: bool, dtype: str) -> Any:
    """Random weights in the model's shape, on the device."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    from src.model.architecture import FOLDER
    from src.model.places import EMBEDDED

    name = "deepseek_r1_distill_qwen_1_5b"
    shape = AutoConfig.from_pretrained(EMBEDDED["embedded/micro"] if toy else FOLDER / name)
    shape.max_position_embeddings = max(shape.max_position_embeddings, 32_768)
    with torch.device("cuda" if torch.cuda.is_available() else "cpu"):
        return AutoModelForCausalLM.from_config(shape, dtype=getattr(torch, dtype), attn_implementation="sdpa")


def decoding(toy: bool) -> dict[str, Any]:
    """Seconds a token for 72 rows, prompts of 256 tokens, against the bandwidth floor."""
    import torch

    from src.plan.cost_model import GB

    rows, prompt, tokens = (4, 16, 8) if toy else (72, 256, 128)
    model = model_of(toy, dtype="bfloat16" if torch.cuda.is_available() else "float32").eval()
    ids = torch.randint(5, 60, (rows, prompt), device=model.device)
    settings = {"do_sample": True, "top_k": 0, "eos_token_id": None, "pad_token_id": 0, "disable_compile": True}

    def sample(count: int, **more: Any) -> None:
        with torch.no_grad():
            model.generate(ids, attention_mask=torch.ones_like(ids), min_new_tokens=count, max_new_tokens=count, **settings, **more)

    bandwidth = machine(toy)["bandwidth_gb_per_s"] * 1e9
    shape = model.config
    heads = shape.num_key_value_heads * (shape.hidden_size // shape.num_attention_heads)
    element = next(model.parameters()).element_size()
    weights = sum(p.numel() for p in model.parameters()) * element
    cache = rows * (prompt + tokens / 2) * 2 * shape.num_hidden_layers * heads * element
    found: dict[str, Any] = {"rows": rows, "floor_s": (weights + cache) / bandwidth, "weights_gb": weights / GB}
    for name, more in {"static cache": {"cache_implementation": "static"}, "growing cache": {}}.items():
        each = partial(sample, **more)
        long_s, short_s = (seconds_of(partial(each, count), repeats=1) for count in (tokens, tokens // 2))
        found[name] = of_floor(found["floor_s"], (long_s - short_s) / (tokens - tokens // 2))
    long_s, short_s = (continuous(model, ids.tolist(), count) for count in (tokens, tokens // 2))
    found["continuous batching"] = of_floor(found["floor_s"], (long_s - short_s) / (tokens - tokens // 2))
    return found


def of_floor(floor_s: float, token_s: float) -> dict[str, float]:
    return {"token_s": token_s, "share_of_floor": floor_s / token_s}


def continuous(model: Any, prompts: list[list[int]], tokens: int) -> float:
    """Seconds of transformers' continuous batching, its start included."""
    from transformers import GenerationConfig

    config = GenerationConfig(do_sample=True, top_k=0, max_new_tokens=tokens, eos_token_id=-1, pad_token_id=0)
    wait()
    started = time.perf_counter()
    model.generate_batch(prompts, generation_config=config, progress_bar=False)
    wait()
    return time.perf_counter() - started


def learning(toy: bool, seconds: float) -> dict[str, Any]:
    """The embedded model, as in the README's first command, for as many steps as there is time for."""
    budget = max(0.01, (seconds - 60) / 3600)  # hours; the rest is for the measurements before and after
    with tempfile.TemporaryDirectory() as folder:
        overrides = SMALL if toy else ("+experiment=mix_easy_hard", "tracking=none", f"budget.hours={budget}")
        command(folder, *overrides, f"hardware={profile()}", "hardware.bf16=false", f"run_dir={folder}/run")
        summary = json.loads(Path(folder, "run", "summary.json").read_text())
    keep = ("status", "steps", "cost", "validation")
    return {key: summary.get(key) for key in keep} | {"evaluation": summary["evaluation"].get("chains", {})}


# All of them ----------------------------------------------------------------------------------------------------------------

PATIENCE = 5  # times the limits, in a rehearsal beside other work
LIMITS = {  # seconds of each part
    "machine": 60, "fork": 90, "precision": 60, **dict.fromkeys(TRAINING, 75), "long": 75, "decoding": 75, "learning": 240,
}


def run_part(name: str, toy: bool, seconds: float) -> dict[str, Any]:
    if name == "flex attention" and not visible_gpus():
        return {"left_out": "torch has no backward pass of FlexAttention on a CPU"}
    if name in TRAINING:
        return training(name, toy)
    if name == "learning":
        return learning(toy, seconds)
    parts = {"machine": machine, "fork": fork, "precision": precision, "long": long, "decoding": decoding}
    return parts[name](toy)


def in_a_process(name: str, toy: bool, seconds: float) -> dict[str, Any]:
    """A part's result, or why there is none."""
    with tempfile.TemporaryDirectory() as folder:
        result, log = Path(folder, "result.json"), Path(folder, "log")
        words = [sys.executable, __file__, "--part", name, "--result", str(result), "--seconds", str(seconds)]
        started = time.perf_counter()
        with log.open("wb") as file:
            process = subprocess.Popen(
                [*words, *(["--toy"] if toy else [])], stdout=file, stderr=file, stdin=subprocess.DEVNULL,
                start_new_session=True, env=os.environ | ({} if visible_gpus() else {"OMP_NUM_THREADS": "1"}),
            )
            try:
                code = process.wait(seconds)
            except subprocess.TimeoutExpired:
                code = f"longer than {seconds:.0f} s"
            finally:
                end_all(process)
        wall = {"wall_s": round(time.perf_counter() - started, 1)}
        if code == 0:
            return json.loads(result.read_text()) | wall
        return {"failed": code, "last_lines": log.read_text(errors="replace").strip().splitlines()[-12:]} | wall


def end_all(process: subprocess.Popen) -> None:
    """End a part and what it has started."""
    import signal
    from contextlib import suppress

    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)


def table(found: dict[str, dict[str, Any]]) -> str:
    """The training variants against bare TRL, in Markdown."""
    rows = ["| training | s a step | log-probabilities | forward and backward | optimiser | peak GB | utilisation % | bare TRL's steps | plan: s, GB |",
            "| --- | --- | --- | --- | --- | --- | --- | --- | --- |"]
    reference = found.get("bare TRL", {}).get("seconds_per_step")
    for name in TRAINING:
        one = found.get(name, {"failed": "not run"})
        if "seconds" not in one:
            rows.append(f"| {name} | {one} |")
            continue
        phases = " | ".join(f"{one['seconds'][phase]:.2f}" for phase in ("log-probabilities", "forward and backward", "optimiser"))
        times = f"{reference / one['seconds_per_step']:.2f}" if reference else "-"
        plan = f"{one['planned']['seconds']:.2f}, {one['planned']['peak_gb']:.1f}"
        rows.append(f"| {name} | {one['seconds_per_step']:.2f} | {phases} | {one['peak_gb']:.1f} | {100 * one['training_mfu']:.1f} | {times} | {plan} |")
    return "\n".join(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--toy", action="store_true", help="the embedded model and short completions")
    parser.add_argument("--seconds", type=float, help="for all of it; default 480, in a rehearsal 2400")
    parser.add_argument("--only", nargs="+", choices=LIMITS, help="these parts")
    parser.add_argument("--out", type=Path, default=Path("first_contact.json"))
    for hidden in ("--part", "--result"):
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.part:
        found = run_part(arguments.part, arguments.toy, arguments.seconds)
        Path(arguments.result).write_text(json.dumps(found))
        return
    until, all_found = time.monotonic() + (arguments.seconds or (2400 if arguments.toy else 480)), {}
    for name in arguments.only or LIMITS:
        left = until - time.monotonic()
        limit = min(float(LIMITS[name] * (PATIENCE if arguments.toy else 1)), left)
        all_found[name] = in_a_process(name, arguments.toy, limit) if limit > 5 else {"failed": "no time was left"}
        arguments.out.write_text(json.dumps(all_found, indent=2))
        print(f"{name}: {json.dumps(all_found[name])}", flush=True)
    print(table(all_found))
    if any("failed" in one for one in all_found.values()):
        sys.exit(1)


if __name__ == "__main__":
    main()
