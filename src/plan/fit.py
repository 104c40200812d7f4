"""What fits into memory, and which settings would make a run fit."""

import importlib.util
from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations
from typing import Any

from src.config.tree import LabConfig
from src.hardware.config import Spec
from src.model.architecture import architecture
from src.model.config import LoraConfig
from src.plan.cost_model import GB, USABLE, Workload, cache_room, engine_cache_per_token, mask_bytes, memory, peak_memory
from src.plan.workload import numbers, workload
from src.rollout.config import TransformersRollout

LORA = LoraConfig(rank=16, alpha=32)  # that a suggestion names
SHARES = (0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)  # of a GPU for vLLM, that one names
EVALUATED_AT_ONCE = (64, 16, 4)  # completions by transformers, that one names
MOST_TOGETHER = 3  # settings in one suggestion


def faults(w: Workload, spec: Spec) -> list[str]:
    """Why the run cannot fit into memory; empty if it does."""
    found, usable = [], USABLE * spec.memory_bytes
    for phase, size in zip(("training", "sampling"), peak_memory(w, memory(w, spec)), strict=True):
        if size > usable:
            found.append(f"{phase} needs {size / GB:.1f} GB of {usable / GB:.1f} GB that can be used on each device")
    if w.architecture.heads % w.engine_parallel:
        found.append(
            f"a vLLM server cannot share out {w.architecture.heads} attention heads over {w.engine_parallel} GPUs; "
            "choose hardware.gpus and hardware.processes that leave it a divisor of them"
        )
    if w.engine.uses_vllm:
        needed = w.engine_positions * engine_cache_per_token(w)
        if (room := cache_room(w, spec)) < needed:
            found.append(
                f"vLLM has {max(0.0, room) / GB:.1f} GB for its cache, and one sequence of {w.engine_positions} tokens "
                f"needs {needed / GB:.1f} GB"
            )
    return found


def batches(w: Workload) -> Iterator[int]:
    """Sizes of a pass that cut a step's batch evenly, falling."""
    per_step = w.completions * w.uses // w.updates // w.processes
    return (size for size in range(per_step, 0, -1) if per_step % size == 0)


def largest_batch(w: Workload, spec: Spec) -> int | None:
    """The largest `hardware.device_batch_size` that fits; None if not even one completion does."""
    return next((size for size in batches(w) if not faults(replace(w, device_batch=size), spec)), None)


def remedies(config: LabConfig, w: Workload, spec: Spec) -> list[str]:
    """Settings each of which alone would make the run fit, then those that do with a smaller batch; where there are none,
    two together, or three."""
    size, options = largest_batch(w, spec), changes(config, w)
    found: dict[tuple[str, ...], str] = {(): f"hardware.device_batch_size={size}"} if size else {}
    together: dict[tuple[str, ...], str] = {}
    for number in range(1, MOST_TOGETHER + 1):
        for names in combinations(options, number):
            keys = tuple(name.partition("=")[0].lstrip("'") for name in names)
            if keys in found or len(set(keys)) < number:
                continue
            changed = replace(w, **{field: value for name in names for field, value in options[name].items()})
            if not faults(changed, spec):
                found[keys] = " ".join(names)
            elif keys not in together and (larger := largest_batch(changed, spec) or 0) > (size or 0):
                together[keys] = f"{' '.join(names)} hardware.device_batch_size={larger}"
        if found or together:
            break
    return [*found.values(), *(said for keys, said in together.items() if keys not in found)][:4]


def changes(config: LabConfig, w: Workload) -> dict[str, dict[str, Any]]:
    """Settings that take less memory, as a command line writes them, and what each changes in the workload."""
    found: dict[str, dict[str, Any]] = {}
    if not w.checkpointing:
        found["hardware.gradient_checkpointing=true"] = {"checkpointing": True}
    if mask_bytes(w):
        flash = flash_attention()
        found[f"model.attention={flash}"] = {"attention": flash}
    if w.processes > 1 and w.sharding != "fsdp2":
        if w.sharding == "none" and config.hardware.device == "cuda":
            found["hardware.sharding=zero2"] = {"sharding": "zero2"}
        element_bytes, mixed = numbers(config, "fsdp2")
        found["hardware.sharding=fsdp2"] = {"sharding": "fsdp2", "element_bytes": element_bytes, "mixed": mixed}
    if w.engine.shares_gpu:
        if not w.engine_sleeps:
            found["rollout.sleep=true"] = {"engine_sleeps": True}
        found |= {f"rollout.gpu_memory_share={share}": {"engine_share": share} for share in SHARES}
    if w.engine.uses_vllm and (longest := longest_needed(w)) < w.engine_positions:
        found[f"trainer.vllm_max_model_length={longest}"] = {"engine_positions": longest}
    if config.model.lora is None:
        lora = {"trained_parameters": w.architecture.lora_parameters(LORA), "reference": False}
        name = f"'model.lora={{rank: {LORA.rank}, alpha: {LORA.alpha:g}}}'"
        found[name] = lora
        if config.hardware.bf16 and w.element_bytes == 4 and w.sharding == "none":  # what is not trained needs no more
            found[f"{name} model.dtype=bfloat16"] = lora | {"element_bytes": 2, "reference_bytes": 2, "mixed": False}
    for rows in EVALUATED_AT_ONCE:
        fewer = {"evaluations": tuple(replace(e, batch=min(e.batch, rows)) for e in w.evaluations)}
        name = f"evaluation.sampling.batch_size={rows}"
        if w.engine.shares_gpu:
            found[f"rollout=transformers {name}"] = fewer | {"engine": TransformersRollout, "engine_share": 0.0}
        elif not w.engine.uses_vllm and rows < config.evaluation.sampling.batch_size:
            found[name] = fewer
    for share in (0.75, 0.5, 0.25):
        limits = tuple(round(share * limit) for limit in w.limits)
        found[f"length.fraction={share * config.length.fraction:g}"] = {"limits": limits}
    return found


def longest_needed(w: Workload) -> int:
    """Tokens of the longest sequence that is sampled."""
    return max(w.longest, *(w.prompt_longest + e.limit for e in w.evaluations))


def flash_attention() -> str:
    """A kernel that takes padding without a mask: flash-attn's where it is installed, else torch's own."""
    return "flash_attention_2" if importlib.util.find_spec("flash_attn") else "flex_attention"


def remedies_below(config: LabConfig) -> list[str]:
    """Settings that need less memory than these, for a run that did not fit although the plan said so."""
    w = workload(config, architecture(config.model))
    smaller = next((size for size in batches(w) if size <= w.device_batch // 2), None)
    found = [f"hardware.device_batch_size={smaller}"] if smaller else []
    if not w.checkpointing:
        found.append("hardware.gradient_checkpointing=true")
    if w.engine.shares_gpu:
        less = f"rollout.gpu_memory_share={w.engine_share / 2:.2g}"
        found.append(less if w.engine_sleeps else "rollout.sleep=true")
    return [*found, f"length.fraction={config.length.fraction / 2:g}"]
