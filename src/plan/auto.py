"""`scale=auto` and `hardware=auto`: from the GPUs that are here to the settings that the plan says are the quickest that fit.

All weights are trained where that fits, else adapters, and only then with another attention kernel; what a command line gives
stays as it is. To have more tried, add to `layouts` (over the GPUs) or to `variants` (on each of them).
"""

import copy
import importlib.util
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice, product
from typing import Any

from src.common.errors import UserError
from src.common.screen import duration
from src.config.tree import LabConfig, parse
from src.hardware.cards import described, option_of
from src.hardware.config import Spec
from src.hardware.gpus import Gpu, gpus_here, slice_size
from src.hardware.ranks import in_set, slurm_tasks
from src.model.architecture import architecture
from src.plan.cost_model import Workload, seconds
from src.plan.fit import EVALUATED_AT_ONCE, LORA, SHARES, batches, faults, flash_attention, longest_needed
from src.plan.plan import make_plan, refusal
from src.plan.workload import workload

AUTO = ("scale=auto", "hardware=auto")
SEEN = "hardware.seen="  # GPUs to plan for as if they were here, see `described`
SCALES = ("h200", "qwen2_5")  # on GPUs: the first that the experiment has numbers for
MARGINS = (0.9, 1.0)  # of the memory: the rest is for what the plan is wrong by; all of it where nothing fits otherwise
LIMITS = 8  # samplings that stand for all of them where settings are compared
SIZES = 3  # of a pass that are compared, the largest that fit
BATCH, CHECKPOINTING = "hardware.device_batch_size", "hardware.gradient_checkpointing"
POSITIONS = "trainer.vllm_max_model_length"
LORA_SETTING = {"rank": LORA.rank, "alpha": LORA.alpha}

Content = dict[str, Any]  # a composed configuration
Settings = dict[str, Any]  # dotted key: value
Compose = Callable[[Sequence[str]], Content]  # of a command line; raises UserError


@dataclass(frozen=True, slots=True)
class Machine:
    """What there is to train with."""

    gpus: tuple[Gpu, ...]
    vllm: bool = True
    deepspeed: bool = True


@dataclass(frozen=True, slots=True)
class Asked:
    """What a command line gives, `auto` taken out."""

    arguments: tuple[str, ...]
    scales: tuple[str, ...]  # to choose from; none = it stays

    @classmethod
    def of(cls, arguments: Sequence[str]) -> "Asked":
        given = tuple(argument for argument in arguments if argument not in AUTO and not argument.startswith(SEEN))
        return cls(given, SCALES if "scale=auto" in arguments else ())

    def sets(self, key: str) -> bool:
        """Whether it gives an option to a group, or a value to a key or to a part of it."""
        keys = [argument.lstrip("+~").partition("=")[0] for argument in self.arguments]
        return key in keys or "." in key and any(one.startswith(f"{key}.") for one in keys)


@dataclass(frozen=True, slots=True)
class Choice:
    settings: Settings
    workload: Workload
    hours: float


def asked_for(arguments: Sequence[str]) -> bool:
    return any(argument in AUTO for argument in arguments)


def explicit(arguments: Sequence[str], compose: Compose) -> tuple[list[str], str]:
    """A command line with `auto` spelled out for the machine here, and what was chosen. Raises UserError if nothing fits."""
    asked, there = Asked.of(arguments), machine(arguments)
    if in_set() or slurm_tasks() > 1:
        raise UserError("auto: it chooses the number of processes, and here they run already; give what it says for one process")
    if asked.sets("resume"):
        raise UserError("auto: a run goes on as it began; give hardware.<key>=... for what is to be different")
    if not (there.gpus or asked.sets("hardware")) or "hardware=cpu" in asked.arguments:
        return [*(["scale=micro"] if asked.scales else []), "hardware=cpu", *asked.arguments], "no GPU: on the CPU"
    base = grounds(asked, there, compose)
    best = quickest(base, asked, there, compose)
    spelled = [*base, *(written(key, value) for key, value in best.settings.items()), *asked.arguments]
    config = parse(compose(spelled))
    plan = make_plan(config)
    hint = "" if there.vllm else "; vLLM is not installed here, pip install -e '.[vllm]' -c constraints.txt"
    return spelled, f"{in_words(config)}; about {duration(plan.hours * 3600)}, ${plan.usd:.2f}{hint}"


def machine(arguments: Sequence[str]) -> Machine:
    """This machine, or the one that `hardware.seen` describes, which is taken to have all that can be installed."""
    if seen := [argument.removeprefix(SEEN) for argument in arguments if argument.startswith(SEEN)]:
        return Machine(tuple(described(seen[-1])))
    vllm, deepspeed = (importlib.util.find_spec(name) is not None for name in ("vllm", "deepspeed"))
    return Machine(tuple(gpus_here()), vllm, deepspeed)


def grounds(asked: Asked, there: Machine, compose: Compose) -> list[str]:
    """Scale and hardware: the option of the card (the smallest, if they differ), and what of it is different here."""
    gpu = min(there.gpus, key=lambda gpu: gpu.memory_gb, default=None)
    hardware = [] if asked.sets("hardware") or gpu is None else [f"hardware={option_of(gpu.name)}"]
    refused = None
    for scale in asked.scales or ("",):
        base = [*([f"scale={scale}"] if scale else []), *hardware]
        try:
            content = compose([*base, *asked.arguments])
        except UserError as error:  # the experiment has no numbers for the scale, for one
            refused = refused or error
        else:
            return [*base, *(different(gpu, content["hardware"]) if gpu and hardware else [])]
    assert refused
    raise refused


def different(gpu: Gpu, card: Content) -> list[str]:
    """What a device has less than its card: a MIG slice, or a part that a hypervisor gives."""
    spec, found = card["spec"], {}
    sevenths, memory = slice_size(gpu.profile)
    if sevenths:
        computing = sevenths / 7
        bandwidth = spec["bandwidth_gb_per_s"] * memory / (spec["memory_gb"] or memory)
        found = {"spec.memory_gb": memory, "spec.peak_tflops": computing * spec["peak_tflops"],
                 "spec.bandwidth_gb_per_s": bandwidth, "price_usd_per_gpu_hour": computing * card["price_usd_per_gpu_hour"]}
    elif gpu.memory_gb and (spec["memory_gb"] is None or gpu.memory_gb < 0.98 * spec["memory_gb"]):
        found = {"spec.memory_gb": gpu.memory_gb}
    return [f"hardware.{key}={value:.4g}" for key, value in found.items()]


def quickest(base: Sequence[str], asked: Asked, there: Machine, compose: Compose) -> Choice:
    """The settings of the fewest planned hours among those of the best kind that fit."""
    contents = [(engine, compose([*base, *map(written, engine, engine.values()), *asked.arguments]))
                for engine in engines(asked, there)]
    adapted = (contents[0][1]["model"]["lora"] is not None,) if asked.sets("model.lora") else (False, True)
    for margin, kernel, adapters in product(MARGINS, (None, flash_attention()), adapted):
        found = [
            replace(choice, settings=engine | choice.settings) for engine, content in contents
            for layout in layouts(content, asked, there, adapters)
            for choice in variants(content, layout, asked, kernel, margin)
        ]
        if found:
            return min(found, key=lambda choice: (choice.hours, choice.workload.processes, -choice.workload.device_batch))
    engine, content = contents[0]
    plan = make_plan(config := parse(content))
    if plan.faults:
        raise UserError(refusal(plan))
    return Choice(engine, workload(config, architecture(config.model)), plan.hours)


def engines(asked: Asked, there: Machine) -> list[Settings]:
    """What may sample."""
    if asked.sets("rollout"):
        return [{}]
    names = ["vllm_colocate", *(["vllm_server"] if len(there.gpus) > 1 else [])] if there.vllm else []
    return [{"rollout": name} for name in (*names, "transformers")]


def layouts(content: Content, asked: Asked, there: Machine, adapters: bool) -> Iterator[Settings]:
    """Ways to spread a run over the GPUs, and the type of its weights that goes with each."""
    gpus = len(there.gpus) or content["hardware"]["gpus"]
    if any(gpu.profile for gpu in there.gpus):
        gpus = 1  # NCCL does not connect slices
    serving = content["rollout"]["engine"] == "vllm_server"
    for processes in range(gpus - serving, 0, -1):
        for sharding in ("none",) if processes == 1 or adapters else ("none", "zero2", "fsdp2"):
            if sharding == "zero2" and not there.deepspeed:
                continue
            # AdamW's small steps need float32 weights, which ZeRO's optimiser keeps by itself.
            full = "bfloat16" if sharding == "zero2" else "float32"
            settings = {
                "hardware.gpus": gpus if serving else processes,
                "hardware.processes": processes,
                "hardware.sharding": sharding,
                "model.lora": LORA_SETTING if adapters else None,
                "model.dtype": "bfloat16" if adapters else full,
            }
            yield {key: value for key, value in settings.items() if not asked.sets(key)}


def variants(content: Content, layout: Settings, asked: Asked, kernel: str | None, margin: float) -> Iterator[Choice]:
    """The settings on each GPU that fit a layout: with and without checkpointing, the largest passes."""
    group = content["algorithm"]["completions_per_prompt"]
    try:  # passes of a prompt's completions come out even wherever the layout does
        config = parse(applied(content, layout | ({} if asked.sets(BATCH) else {BATCH: group})))
    except UserError:  # the batch cannot be shared out over so many processes, for one
        return
    whole, spec = workload(config, architecture(config.model)), config.hardware.known_spec
    assert spec and spec.memory_gb
    usable = spec.model_copy(update={"memory_gb": margin * spec.memory_gb})
    shown = replace(whole, limits=whole.limits[:: -(-len(whole.limits) // LIMITS)])
    if kernel and not asked.sets("model.attention"):
        layout, shown = layout | {"model.attention": kernel}, replace(shown, attention=kernel)
    for checkpointing in (whole.checkpointing,) if asked.sets(CHECKPOINTING) else (False, True):
        sizes = [whole.device_batch] if asked.sets(BATCH) else [n for n in batches(whole) if n % group == 0 or whole.learnt == 1]
        rooms = (roomiest(replace(shown, checkpointing=checkpointing, device_batch=size), config, usable, asked) for size in sizes)
        for room, w in islice(filter(None, rooms), SIZES):
            settings = layout | {CHECKPOINTING: checkpointing, BATCH: w.device_batch} | room
            changed = {key: value for key, value in settings.items() if value != look_up(content, key)}
            yield Choice(changed, w, hours(w, whole, spec))


def roomiest(w: Workload, config: LabConfig, usable: Spec, asked: Asked) -> tuple[Settings, Workload] | None:
    """The most room for sampling with which a workload fits: vLLM's share, or the completions that transformers evaluates at
    once; None if it does not fit."""
    options: list[tuple[Settings, Workload]] = [({}, w)]
    if w.engine.shares_gpu and not asked.sets("rollout.gpu_memory_share"):
        options = [({"rollout.gpu_memory_share": share}, replace(w, engine_share=share)) for share in reversed(SHARES)]
        if (longest := longest_needed(w)) < w.engine_positions and not asked.sets(POSITIONS):
            options += [(one | {POSITIONS: longest}, replace(other, engine_positions=longest)) for one, other in options]
    elif not w.engine.uses_vllm and not asked.sets("evaluation.sampling.batch_size"):
        at_once = config.evaluation.sampling.batch_size
        options += [
            ({"evaluation.sampling.batch_size": rows}, replace(w, evaluations=tuple(replace(e, batch=rows) for e in w.evaluations)))
            for rows in EVALUATED_AT_ONCE if rows < at_once
        ]
    return next((option for option in options if not faults(option[1], usable)), None)


def hours(w: Workload, whole: Workload, spec: Spec) -> float:
    """Of the whole run, of which a workload has some samplings."""
    times = len(whole.limits) / len(w.limits)
    spent = seconds(replace(w, steps=round(w.steps / times)), spec)
    return (spent["startup"] + times * (spent["rollout"] + spent["training"]) + spent["evaluation"]) / 3600


# A configuration's keys --------------------------------------------------------------------------------------------------


def applied(content: Content, settings: Settings) -> Content:
    changed = copy.deepcopy(content)
    for key, value in settings.items():
        *groups, name = key.split(".")
        look_up(changed, ".".join(groups))[name] = value
    return changed


def look_up(content: Content, key: str) -> Any:
    found: Any = content
    for name in key.split("."):
        found = found.get(name) if found else None
    return found


def written(key: str, value: Any) -> str:
    """A setting as a command line has it."""
    key = f"++{key}" if key.startswith("trainer.") else key
    if isinstance(value, dict):
        return f"{key}={{{', '.join(f'{name}: {one:g}' for name, one in value.items())}}}"
    return f"{key}={str(value).lower() if isinstance(value, bool) else 'null' if value is None else value}"


def in_words(config: LabConfig) -> str:
    hardware, lora = config.hardware, config.model.lora
    size = f"{hardware.device_batch_size} completion{'s' if hardware.device_batch_size > 1 else ''} in a pass"
    learnt = f"adapters of rank {lora.rank}" if lora else f"all weights ({config.model.dtype})"
    share = getattr(config.rollout, "gpu_memory_share", None)
    sampled = f"{config.rollout.engine} with {share:g} of the GPU" if share else config.rollout.engine
    spread = f"{hardware.processes} processes{'' if hardware.sharding == 'none' else f' ({hardware.sharding})'}, "
    return f"{hardware.title}: {learnt}, {spread if hardware.processes > 1 else ''}{sampled}, {size}"
