"""The plan against what is measured: seconds a step and peak memory of short micro runs, as ratios.

    python benchmarks/plan.py [--steps 12]      # plan / measured for each setting; 0.75 to 1.25 wanted
    python benchmarks/plan.py --calibrate       # the rates of this machine, for conf/hardware/cpu.yaml

Each run is a process of its own with evaluation all but off; the first two steps are warm-up. Peak memory is the
largest resident size of the run's own process; on a GPU, what nvidia-smi sees taken of it above what was before, looked at
five times a second. Further overrides do the same for other models; with `--as-given` they alone are measured, once.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from src.hardware.gpus import visible_gpus
from src.record.record import read_steps

WARM_UP = 2
LOOK_EVERY_S = 0.2
QUIET = ("+experiment=mix_easy_hard", "evaluation=micro", "~evaluation.suites.chains", "~evaluation.suites.chains_long",
         "evaluation.validation.problems_per_level=1", "evaluation.validation.samples=1",
         "evaluation.validation.every_steps=100000", "tracking=none")
HALF = ("algorithm.prompts_per_step=6", "hardware.device_batch_size=36")
SETTINGS = {
    "as shipped": (),
    "half the batch": HALF,
    "passes of 12": ("hardware.device_batch_size=12",),
    "half the length": ("length.fraction=0.4375",),
}


def measure(steps: int, folder: Path, overrides: tuple[str, ...]) -> dict:
    """A run's seconds a step by phase, peak memory in GB, and its own plan."""
    command = [sys.executable, "-m", "src.run", *QUIET, *overrides, f"scale.steps={steps}", f"run_dir={folder}",
               f"output_root={folder.parent}"]
    before = gpu_bytes()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    taken = [0]
    while not (ended := os.wait4(process.pid, os.WNOHANG))[0]:
        taken.append(gpu_bytes() - before)
        time.sleep(LOOK_EVERY_S)
    _, status, usage = ended  # of this child alone, grading workers not counted
    if status:
        sys.exit(f"the run with {' '.join(overrides) or 'no overrides'} failed: {status}")
    lines = read_steps(folder)[WARM_UP:]
    phases = ("rollout", "grading", "training", "saving")
    seconds = {phase: statistics.median(line[f"seconds/{phase}"] for line in lines) for phase in phases}
    plan = json.loads((folder / "plan.json").read_text())
    on_gpu = "device: cuda" in (folder / "config.yaml").read_text()
    return {"seconds": seconds, "peak_gb": (max(taken) if on_gpu else usage.ru_maxrss * 1024) / 1e9, "plan": plan}


def gpu_bytes() -> int:
    """Memory taken of the first GPU that may be used; 0 without one."""
    if not (gpus := visible_gpus()):
        return 0
    query = ["nvidia-smi", f"--id={gpus[0]}", "--query-gpu=memory.used", "--format=csv,noheader,nounits"]
    return int(subprocess.run(query, capture_output=True, text=True, check=True).stdout) * 2**20


def compare(steps: int, folder: Path, extra: tuple[str, ...], settings: dict[str, tuple[str, ...]] = SETTINGS) -> None:
    for number, (name, overrides) in enumerate(settings.items()):
        found = measure(steps, folder / str(number), (*overrides, *extra))
        plan, step = found["plan"], sum(found["seconds"].values())
        planned_gb = max(plan["peak_gb"].values())
        print(f"{name:16} step {plan['seconds_per_step']:6.2f} s planned, {step:6.2f} s measured, ratio "
              f"{plan['seconds_per_step'] / step:.2f}   memory {planned_gb:.2f} GB planned, {found['peak_gb']:.2f} GB "
              f"measured, ratio {planned_gb / found['peak_gb']:.2f}", flush=True)


def calibrate(steps: int, folder: Path, extra: tuple[str, ...]) -> None:
    """Rates from two sizes of batch: what does not grow with it is overhead."""
    import yaml

    from src.config.tree import parse
    from src.model.architecture import architecture
    from src.plan.cost_model import longest_length, memory, training_flops
    from src.plan.workload import workload

    full, half = (measure(steps, folder / name, (*o, *extra)) for name, o in (("full", ()), ("half", HALF)))
    config = parse(yaml.safe_load((folder / "full" / "config.yaml").read_text()))
    shape, spec = architecture(config.model), config.hardware.known_spec
    w = workload(config, shape)
    forwards = longest_length(w.natural, w.limits[0], w.completions)
    by_row = (full["seconds"]["rollout"] - half["seconds"]["rollout"]) / (w.completions / 2) / forwards
    fixed = full["seconds"]["rollout"] / forwards - w.completions * by_row
    context = w.prompt_mean + forwards / 2
    rate = (shape.forward_flops(1, context) + shape.head_flops(1)) / by_row / 1e12
    training = sum(training_flops(w, w.limits[0]).values()) / full["seconds"]["training"] / 1e12
    held = sum(memory(w, spec).values()) - memory(w, spec)["libraries"] - memory(w, spec)["KV cache"]
    print(f"  peak_tflops: {spec.peak_tflops:g}\n  training_share: {training / spec.peak_tflops:.3f}")
    print(f"  sampling_share: {rate / spec.peak_tflops:.3f}\n  token_seconds: {spec.token_seconds:g}")
    print(f"  layer_seconds: {max(0.0, fixed - spec.token_seconds) / shape.layers:.2e}")
    print(f"  base_gb: {full['peak_gb'] - held / 1e9:.2f}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=12)
    parser.add_argument("--calibrate", action="store_true")
    parser.add_argument("--as-given", action="store_true", help="one run, with the overrides alone")
    parser.add_argument("overrides", nargs="*", help="further overrides of every run, such as scale=... hardware=...")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        if arguments.calibrate:
            calibrate(arguments.steps, Path(folder), tuple(arguments.overrides))
        else:
            settings = {"as given": ()} if arguments.as_given else SETTINGS
            compare(arguments.steps, Path(folder), tuple(arguments.overrides), settings)


if __name__ == "__main__":
    main()
