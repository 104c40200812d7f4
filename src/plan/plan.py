"""What a run will do, take and cost, said before it starts; `plan=true` says nothing else and loads no weights."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from src.common.errors import UserError
from src.common.files import write_json
from src.common.pace import HANGS
from src.common.screen import duration
from src.config.tree import LabConfig
from src.model.architecture import architecture
from src.plan.cost_model import (
    GB,
    Workload,
    engine_cache_per_token,
    engine_memory,
    evaluations_seconds,
    mean_length,
    memory,
    model_flops,
    peak_memory,
    sampling_flops,
    seconds,
    tokens,
    training_flops,
)
from src.plan.disk import disk_bytes, free_bytes
from src.plan.fit import faults, largest_batch, remedies
from src.plan.workload import context_in_words, workload
from src.training.algorithm import bound_to_passes


@dataclass(frozen=True, slots=True)
class Plan:
    """The bill. Memory is that of one GPU that trains (or of the machine, without GPUs)."""

    parameters: int
    trained_parameters: int
    memory_gb: dict[str, float]  # by part
    engine_gb: dict[str, float]  # of vLLM, by part; empty without it
    engine_sequences: int  # of the longest length that its cache holds
    peak_gb: dict[str, float]  # in training and in sampling, which take turns
    disk_gb: dict[str, float]  # of a checkpoint by part, of all that lie there at once, and of what is kept
    available_gb: float
    largest_device_batch: int | None  # completions in a pass; None if not even one fits
    tokens: dict[str, float]
    flops: dict[str, float]  # by phase
    seconds: dict[str, float]  # by phase
    alone_s: float  # that evaluation takes where no engine can be had that helps
    seconds_per_step: float  # sampling and training
    utilisation: float  # share of the peak rate in training, recomputation not counted
    hours: float
    usd: float
    gpu_hours: float
    faults: tuple[str, ...]  # why it cannot fit
    remedies: tuple[str, ...]  # what would make it fit

    @property
    def training_seconds(self) -> float:
        return self.seconds["rollout"] + self.seconds["training"]


def make_plan(config: LabConfig) -> Plan:
    """The plan of a run. Raises UserError where the hardware has no spec or the model's shape is not known."""
    spec = config.hardware.known_spec
    if spec is None:
        raise UserError(
            f"hardware.spec: nothing is known of {config.hardware.name}; choose hardware= or give its numbers"
        )
    w = workload(config, architecture(config.model))
    parts, found = memory(w, spec), faults(w, spec)
    spent, total = seconds(w, spec), sum(seconds(w, spec).values())
    per_step = (spent["rollout"] + spent["training"]) / w.steps
    peak = w.processes * spec.peak_tflops * 1e12 * spent["training"]
    training, sampling = peak_memory(w, parts)
    engine = engine_memory(w, spec)
    return Plan(
        parameters=w.architecture.parameters,
        trained_parameters=w.trained_parameters,
        memory_gb={name: size / GB for name, size in parts.items()},
        engine_gb={name: size / GB for name, size in engine.items()},
        engine_sequences=int(engine.get("KV cache", 0.0) / (w.longest * engine_cache_per_token(w))),
        peak_gb={"training": training / GB, "sampling": sampling / GB},
        disk_gb={name: size / GB for name, size in disk_bytes(config, w).items()},
        available_gb=spec.memory_bytes / GB,
        largest_device_batch=largest_batch(w, spec),
        tokens=tokens(w),
        flops=flops(w),
        seconds=spent,
        alone_s=evaluations_seconds(replace(w, helpers=0), spec),
        seconds_per_step=per_step,
        utilisation=sum(model_flops(w, limit) for limit in w.limits) / peak,
        hours=total / 3600,
        usd=config.hardware.cost_usd(total),
        gpu_hours=config.hardware.gpu_hours(total),
        faults=tuple(found),
        remedies=tuple(remedies(config, w, spec)) if found else (),
    )


def flops(w: Workload) -> dict[str, float]:
    """FLOPs of the whole run by phase."""
    drawn = w.sampled * w.completions
    parts = [
        {"sampling": sampling_flops(w, drawn, w.prompt_mean, mean_length(w.natural, limit)), **training_flops(w, limit)}
        for limit in w.limits
    ]
    parts += [
        {"evaluation": e.times * sampling_flops(w, e.completions, e.prompt_mean, mean_length(w.natural, e.limit))}
        for e in w.evaluations
    ]
    phases = dict.fromkeys(phase for part in parts for phase in part)
    return {phase: sum(part.get(phase, 0.0) for part in parts) for phase in phases}


# What is said --------------------------------------------------------------------------------------------------------


def rows(config: LabConfig, plan: Plan) -> dict[str, str]:
    """The plan in lines for the screen."""
    device = "GPU" if config.hardware.gpus else "machine"
    parts = "  ".join(f"{name} {size:.1f}" for name, size in plan.memory_gb.items() if size >= 0.05)
    peaks = ", ".join(f"{size:.1f} GB in {phase}" for phase, size in plan.peak_gb.items())
    adapted = f", {plan.trained_parameters / 1e6:.1f}M trained" if plan.trained_parameters != plan.parameters else ""
    hours = "  ".join(f"{phase} {duration(size)}" for phase, size in plan.seconds.items())
    result = {
        "model": f"{config.model.path}, {plan.parameters / 1e6:,.1f}M parameters{adapted}",
        "hardware": f"{config.hardware.title}: {config.hardware.processes} training process(es), rollout "
        f"{config.rollout.engine}",
        f"GB per {device}": parts,
        "at the peak": f"{peaks}; {plan.available_gb:.1f} GB there",
        "largest batch": f"{plan.largest_device_batch or 'not even 1'} completions in a pass "
        f"(hardware.device_batch_size={config.hardware.device_batch_size})",
        "disk": f"{disk_in_words(plan)}; {free_bytes(Path(config.output_root)) / GB:.1f} GB are free here",
        "tokens": "  ".join(f"{name} {number / 1e6:.2f}M" for name, number in plan.tokens.items()),
        "FLOPs": "  ".join(f"{name} {number:.2e}" for name, number in plan.flops.items()),
        "time": hours,
        "a step": f"{plan.seconds_per_step:.1f} s; {100 * plan.utilisation:.0f} % model FLOP utilisation in training",
        "estimate": estimate(config, plan),
    }
    w = workload(config, architecture(config.model))
    if short := context_in_words(config, w.engine_positions if w.engine.uses_vllm else w.architecture.positions):
        result["context"] = short
    if plan.engine_gb:
        parts = "  ".join(f"{name} {size:.1f}" for name, size in plan.engine_gb.items())
        where = "each of its own GPUs" if config.rollout.is_server else "its share of the GPU"
        result["GB of vLLM"] = f"{parts}, on {where}; room for {plan.engine_sequences} of the longest sequences at once"
    if reference := config.scale.reference_seconds_per_step:
        all_steps = reference * config.scale.steps
        result["reference"] = (
            f"{reference:g} s a step as measured or published for scale={config.scale.name} on its own hardware, "
            f"{duration(all_steps)} of training"
        )
    return result


def disk_in_words(plan: Plan) -> str:
    """What the checkpoints take."""
    disk = plan.disk_gb
    return (
        f"a checkpoint {disk['weights'] + disk['state']:.1f} GB (weights {disk['weights']:.1f}), at once {disk['at once']:.1f} GB, "
        f"kept {disk['kept']:.1f} GB"
    )


def estimate(config: LabConfig, plan: Plan) -> str:
    """Time and cost in one line."""
    training, cost = plan.training_seconds, config.hardware.cost_usd
    whole = plan.hours * 3600
    return (
        f"about {duration(training)} of training, ${cost(training):.2f}; with evaluation {duration(whole)}, "
        f"${plan.usd:.2f}, on {config.hardware.title}"
    )


def show_plan(config: LabConfig, note: Callable[[str], None]) -> Path:
    """Print and write the plan; nothing else happens. Raises UserError, with what to change, if it cannot fit."""
    from src.plan.answer import answers, in_words  # it reads runs

    plan, found = make_plan(config), answers(config)
    said = facts_of_config(config) | rows(config, plan) | in_words(found)
    width = max(map(len, said))
    for name, text in said.items():
        note(f"  {name:<{width}}  {text}")
    stamp = time.strftime("%Y-%m-%d_%H-%M-%S")
    path = Path(config.output_root) / "plans" / f"{config.name}_{config.scale.name}_{stamp}.json"
    try:
        write_json(path, asdict(plan) | {"answers": list(map(asdict, found)), "config": config.published()})
    except OSError as error:
        raise UserError(f"output_root: cannot write {path} ({error.strerror}); set another") from error
    note(f"written to {path}")
    if plan.faults:
        raise UserError(refusal(plan))
    return path


def refusal(plan: Plan) -> str:
    """One line: what does not fit, and what would."""
    change = f"set one of {', '.join(plan.remedies)}" if plan.remedies else "choose other hardware or a smaller model"
    return f"plan: {'; '.join(plan.faults)}; {change}"


def facts_of_config(config: LabConfig) -> dict[str, str]:
    """What is known without data."""
    lora = config.model.lora
    return {
        "experiment": config.name,
        "options": "  ".join(f"{group}={name}" for group, name in sorted(config.choices.items())),
        "steps": f"{config.scale.steps} of {config.algorithm.completions_per_step} completions "
        f"({config.algorithm.prompts_per_step} prompts x {config.algorithm.completions_per_prompt})",
        "learning rate": f"{config.lr.peak:g} at its peak" + (f", for adapters of rank {lora.rank}" if lora else ""),
    } | ({"passes": passes_in_words(config)} if config.algorithm.length_sorted else {})


def passes_in_words(config: LabConfig) -> str:
    """How completions are put into passes, and why no other way."""
    said = f"{config.batch.accumulation_steps} a step, as wide as their longest completion"
    if config.padding == "sorted":
        return f"{said}, sorted by length"
    bound = bound_to_passes(config.algorithm.settings | config.trainer)
    return f"{said}, not sorted: under {bound} the loss depends on what is in a pass together" if bound else said


def longest_piece_s(plan: Plan | None) -> float:
    """Seconds that a run may take, by its plan, before it can say that it has advanced: an engine may answer a whole measurement
    at once, and a step with all that belongs to it may take a few times what is planned."""
    return max(plan.alone_s, HANGS * plan.seconds_per_step) if plan else 0.0


def plan_of(config: LabConfig) -> Plan | None:
    """The plan of a run that goes on without one where nothing is known of its model or hardware."""
    try:
        return make_plan(config)
    except UserError:
        return None
