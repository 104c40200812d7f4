"""`grpo-lab doctor` says what of this can run here, and what is missing: versions, GPUs, disk, network, scales.

To have more looked at, add a function to PARTS. Nothing is written; the exit code is 1 where a package that every run needs is
not there.
"""

import argparse
import os
import platform
import re
import sys
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path

from src.common.errors import FAILED, UserError
from src.common.files import of_project
from src.common.hub import MIRROR, hub_answers
from src.common.screen import Screen
from src.common.streams import protect
from src.experiment.preparing import check_sources
from src.grading.sandbox import fault
from src.hardware.config import check_device
from src.hardware.gpus import gpus_here, nvidia_smi
from src.model.config import ModelConfig
from src.model.load import resolve
from src.plan.disk import free_bytes
from src.plan.plan import estimate, make_plan, refusal
from src.rollout.config import check_engine
from src.run import CONF, configured

Line = tuple[str, str]  # what was looked at, and what was found
TESTED = r"([A-Za-z0-9_.-]+)==(\S+)"  # a line of constraints.txt
OPTIONAL = {"vllm": "rollout=vllm_*", "deepspeed": "hardware.sharding=zero2", "ray": "sweep.engine=ray", "reasoning-gym": "problems=reasoning_gym"}
MISSING = "missing"


def packages() -> Iterator[Line]:
    """What is installed, beside the one tested set of versions."""
    tested = dict(re.findall(TESTED, of_project("constraints.txt").read_text(encoding="utf-8")))
    needed = [re.split(r"[ <>=!;\[]", line)[0] for line in requires("grpo-lab") or () if "extra ==" not in line]
    yield "python", f"{platform.python_version()} (3.11 to 3.13 are meant)"
    agree = [name for name in needed if installed(name) == tested.get(name, installed(name))]
    yield "packages", f"{len(agree)} of {len(needed)} as tested"
    for name in (name for name in needed if name not in agree):
        yield name, f"{installed(name) or MISSING}, tested with {tested[name]}: pip install {name}=={tested[name]}"
    for name, use in OPTIONAL.items():
        yield name, installed(name) or f"not installed; only {use} needs it"


def installed(name: str) -> str | None:
    try:
        return version(name).partition("+")[0]  # 2.13.0+cpu is 2.13.0
    except PackageNotFoundError:
        return None


def machine() -> Iterator[Line]:
    driver = nvidia_smi("--query-gpu=driver_version", "--format=csv,noheader").split("\n")[0]
    gpus = gpus_here()
    yield "GPUs", ", ".join(f"{gpu.name} {gpu.profile} {gpu.memory_gb:.0f} GB".replace("  ", " ") for gpu in gpus) or "none; scale=micro and smollm2 need none"
    if gpus:
        import torch

        yield "driver", f"{driver}; torch {torch.__version__} {'sees them' if torch.cuda.is_available() else 'does not see them: install its build for CUDA'}"
    yield "CPU", f"{len(os.sched_getaffinity(0))} cores, {os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 1e9:.0f} GB of memory"
    yield "disk", f"{free_bytes(Path()) / 1e9:,.0f} GB free here, {free_bytes(Path.home()) / 1e9:,.0f} GB in the home folder, where models are cached"
    yield "sandbox", fault() or "programs as answers can be run"


def network() -> Iterator[Line]:
    from huggingface_hub import constants

    mirror = os.environ.get(MIRROR)
    yield "hub", "answers" if hub_answers(constants.ENDPOINT) else "does not answer: only local models and data, and what is cached"
    yield "mirror", f"{mirror} ({MIRROR})" if mirror else f"none ({MIRROR} names one)"
    import wandb

    address, key = wandb.setup().settings.base_url, wandb.login(prompt=False, verify=False)
    yield "W&B", (f"{address} answers" if hub_answers(address) else f"{address} does not answer") if key else "no key: runs are kept offline (wandb login)"


def scales() -> Iterator[Line]:
    """For each scale whether a run of it can start here, and if not what stands in its way first."""
    for path in sorted((CONF / "scale").glob("*.yaml")):
        try:
            config = configured(f"scale={path.stem}", "mix=all")
            check_sources(config)
            check_model(config.model)
            check_engine(config.rollout)
            check_device(config.hardware)
            plan = make_plan(config)
            yield f"scale={path.stem}", refusal(plan) if plan.faults else estimate(config, plan)
        except UserError as error:
            yield f"scale={path.stem}", f"not here: {error}"


def check_model(model: ModelConfig) -> None:
    """Raise UserError for a model that is neither on this machine nor to be had."""
    from huggingface_hub import constants, try_to_load_from_cache

    place = resolve(model)
    here = Path(place).is_dir() or isinstance(try_to_load_from_cache(place, "config.json", revision=model.revision), str)
    if not here and not hub_answers(constants.ENDPOINT):
        raise UserError(f"model.path: {place} is not on this machine, and the hub does not answer")


PARTS: tuple[Callable[[], Iterator[Line]], ...] = (packages, machine, network, scales)


def main() -> None:
    protect()
    argparse.ArgumentParser(prog="grpo-lab doctor", description=__doc__.splitlines()[0]).parse_args()
    screen, lacks = Screen(), False
    for part in PARTS:
        for name, found in part():
            lacks |= found.startswith(MISSING)
            screen.note(f"  {name:<19}{found}")
    sys.exit(FAILED if lacks else 0)


if __name__ == "__main__":
    main()
