"""The embedded ladder: models of five sizes, base and instruct, pre-trained on demand and kept in a cache.

`python -m src.micro.ladder` makes all of them; a run makes the one it needs, and for an instruct variant its base first. A
model's place in the cache is named after its content: the arguments of its pre-training, the code that runs and the
libraries' versions. Folders are written beside their place and renamed into it, under a lock that the kernel drops with
its holder; so neither a kill half-way nor two processes that ask at once leave anything but whole models.

To add a size, add it to SHAPES and as two options to conf/model/.
"""

import argparse
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from src.common.errors import RunFailed
from src.common.locks import held

CACHE_VARIABLE = "GRPO_LAB_CACHE"  # environment: where models are kept; default ~/.cache/grpo-lab
CODE = ("corpus", "demonstrations", "pretrain", "sizes", "tasks", "tokenizer")  # modules that decide the weights
LIBRARIES = ("torch", "transformers", "tokenizers")
INSTRUCT_STEPS, INSTRUCT_LR_SCALE = 6, 0.1  # more leaves nothing to learn
BATCH = 16  # small ones teach more per demonstration, and a core is full with them
PROMPTS = ("none", "boxed")  # the study's, and the bare question
CALIBRATION_COUNT = 100  # problems of a level in the model's card
OTHER_SHARE = 0.15  # of demonstrations; the tasks that out-of-domain suites measure


@dataclass(frozen=True, slots=True)
class Shape:
    """A size of the ladder. Heads have size 32, which vLLM on a CPU needs."""

    layers: int
    width: int
    mlp: int
    steps: int  # of BATCH demonstrations
    minutes: float  # of one core, about
    base: str | None = None  # of an instruct variant: the model it starts from

    def arguments(self) -> list[str]:
        """Of `python -m src.micro.pretrain`, but for the folders."""
        values = {
            "layers": self.layers, "width": self.width, "heads": self.width // 32, "mlp": self.mlp, "steps": self.steps,
            "batch": BATCH, "clean-share": 0.5, "other-share": OTHER_SHARE, "calibration-count": CALIBRATION_COUNT,
        } | ({"lr-scale": INSTRUCT_LR_SCALE} if self.base else {})
        words = [word for name, value in values.items() for word in (f"--{name}", str(value))]
        return [*words, "--plain", "--prompts", *PROMPTS]

    def config(self, micro: Mapping[str, Any]) -> dict[str, Any]:
        """Its config.json before it is made, from that of the embedded model: the tokenizer and the family are the same."""
        heads = self.width // 32
        return dict(micro) | {
            "num_hidden_layers": self.layers, "hidden_size": self.width, "intermediate_size": self.mlp,
            "num_attention_heads": heads, "num_key_value_heads": heads, "layer_types": micro["layer_types"][:1] * self.layers,
        }


# Larger ones learn more from a step, and a step of theirs takes longer.
SHAPES = {
    "embedded/micro_0_05m": Shape(3, 32, 96, 6000, 3),
    "embedded/micro_0_2m": Shape(3, 64, 176, 1800, 1.5),
    "embedded/micro_0_4m": Shape(3, 96, 256, 2200, 3),
    "embedded/micro_1m": Shape(4, 160, 432, 1000, 4),
    "embedded/micro_3m": Shape(5, 224, 592, 1500, 14),
}
LADDER = SHAPES | {
    f"{base}_instruct": replace(shape, steps=INSTRUCT_STEPS, minutes=shape.minutes / 10, base=base)
    for base, shape in SHAPES.items()
}


def place(name: str) -> Path:
    """Where a model of the ladder is kept, made or not."""
    content = {
        "arguments": LADDER[name].arguments(),
        "code": {m: hashlib.sha256(Path(__file__).with_name(f"{m}.py").read_bytes()).hexdigest() for m in CODE},
        "versions": {library: version(library) for library in LIBRARIES},
    } | ({"base": place(base).name} if (base := LADDER[name].base) else {})
    digest = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:12]
    root = Path(os.environ.get(CACHE_VARIABLE) or Path.home() / ".cache" / "grpo-lab")
    return root / "models" / f"{name.removeprefix('embedded/')}-{digest}"


def provide(name: str) -> Path:
    """The model's folder, pre-trained first where it is not there yet; waits while another process makes it.

    Raises RunFailed if pre-training fails.
    """
    folder = place(name)
    if (folder / "config.json").is_file():
        return folder
    if base := LADDER[name].base:
        provide(base)
    with held(folder.with_name(f"{folder.name}.lock")):
        if not (folder / "config.json").is_file():
            for rest in folder.parent.glob(f".{folder.name}-*"):  # of a process that was killed
                shutil.rmtree(rest, ignore_errors=True)
            _pretrain(name, folder)
    return folder


def _pretrain(name: str, folder: Path) -> None:
    """In a process of its own, so that threads and random state of this one stay as they are."""
    shape = LADDER[name]
    print(f"{name}: pre-training it once, about {shape.minutes:g} min of one core, into {folder}", flush=True)
    command = [sys.executable, "-m", "src.micro.pretrain", *shape.arguments(), "--output", str(folder)]
    command += ["--instruct", str(place(shape.base))] if shape.base else []
    root = str(Path(__file__).parents[2])
    environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode:
        last = (done.stdout.strip().splitlines() or ["no output"])[-1]
        raise RunFailed(f"pre-training {name} failed ({last}); run it alone: python -m src.micro.ladder --only {name}")


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m src.micro.ladder", description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=2, help="models at once")
    parser.add_argument("--only", choices=LADDER, help="this one alone")
    options = parser.parse_args(argv)
    # The largest first: what is left for the end is short. Instruct variants last: they wait for their bases.
    names = [options.only] if options.only else sorted(  # noqa: C414 - the order of equals matters
        reversed(LADDER), key=lambda name: LADDER[name].base is not None
    )
    missing = [name for name in names if not (place(name) / "config.json").is_file()]
    minutes = sum(LADDER[name].minutes for name in missing) / max(1, min(options.jobs, len(missing)))
    print(f"{len(names) - len(missing)} of {len(names)} are there; the others take about {minutes:.0f} min")
    with ThreadPoolExecutor(max(1, options.jobs)) as pool:
        for folder in pool.map(provide, names):
            print(folder)


if __name__ == "__main__":
    main()
