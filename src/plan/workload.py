"""From a run's configuration to what the cost model asks for."""

from typing import Any

from src.common.types import LEVELS
from src.config.teacher import named_as_asked, teacher_of
from src.config.tree import LabConfig
from src.model.architecture import Architecture, architecture
from src.plan.cost_model import Sampling, Workload
from src.training.algorithm import ADVANTAGES
from src.training.length import LengthSchedule

ELEMENT_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
DEFAULT_BETA = {"grpo": 0.0, "rloo": 0.05}  # of TRL's configs: of the KL to the start


def workload(config: LabConfig, shape: Architecture) -> Workload:
    """What the run does, in numbers."""
    hardware, rollout, batch, scale = config.hardware, config.rollout, config.batch, config.scale
    fields: dict[str, Any] = config.algorithm.settings | config.trainer
    teacher = teacher_of(config)
    beta = 0.0 if teacher else fields.get("beta", DEFAULT_BETA[config.algorithm.trainer])
    with named_as_asked():
        times = architecture(teacher).parameters / shape.parameters if teacher else 1.0  # as large as the policy
    lora = config.model.lora
    element_bytes, mixed = numbers(config, hardware.sharding)
    # The GPUs after those that train, all of them one engine.
    serving = max(1, hardware.gpus - hardware.processes) if rollout.is_server else 0
    return Workload(
        architecture=shape,
        trained_parameters=shape.lora_parameters(lora) if lora else shape.parameters,
        element_bytes=element_bytes,
        reference_bytes=ELEMENT_BYTES[config.model.dtype] * times,
        mixed=mixed,
        processes=hardware.processes,
        generators=serving or hardware.processes,
        engine_parallel=serving or 1,
        device_batch=hardware.device_batch_size,
        padding=config.padding,
        completions=batch.completions_sampled,
        completions_per_prompt=config.algorithm.completions_per_prompt,
        updates=batch.generation_every_steps,
        uses=batch.uses,
        steps=scale.steps,
        prompt_mean=scale.mean_prompt_share * scale.prompt_budget,
        prompt_longest=scale.prompt_budget,
        limits=limits(config),
        natural=scale.natural_completion_tokens,
        reference=teacher is not None or bool(beta) and lora is None,
        extra_forwards=times if teacher else bool(beta) + (scores_again(config, fields) or config.selection.replay is not None),
        checkpointing=hardware.gradient_checkpointing,
        attention=config.model.attention,
        sharding=hardware.sharding,
        engine=type(rollout),
        engine_share=getattr(rollout, "gpu_memory_share", 0.0),
        engine_sleeps=getattr(rollout, "sleep", False),
        engine_positions=fields.get("vllm_max_model_length") or shape.positions,
        evaluations=tuple(evaluations(config)),
        measured_by_all=config.measured_by_all,
        helpers=hardware.processes if config.measured_on_idle_gpus else 0,
        learnt=ADVANTAGES[config.algorithm.advantages].learnt_share(config.algorithm.completions_per_prompt),
        sampled=config.selection.sampled_share,
        thrown=config.selection.thrown_share,
    )


def numbers(config: LabConfig, sharding: str) -> tuple[int, bool]:
    """Bytes of a weight in training, and whether it is a float32 one that is computed with in bf16. Under FSDP2 every
    weight is, where hardware.bf16 is set: accelerate makes it so."""
    loaded = 4 if sharding == "fsdp2" and config.hardware.bf16 else ELEMENT_BYTES[config.model.dtype]
    return loaded, config.hardware.bf16 and loaded == 4


def context_in_words(config: LabConfig, room: int) -> str | None:
    """Where a prompt and the limit on completions come to more than the `room` tokens of the context, so that the longest
    completions are cut before their limit; None where there is room for all."""
    training = LengthSchedule(config.length, config.scale.completion_budget, config.scale.steps).maximum
    prompt, limits = config.scale.prompt_budget, {"training": training, "evaluation": config.evaluation.sampling.max_completion_tokens}
    short = [f"{name} asks for {limit:,}" for name, limit in limits.items() if prompt + limit > room]
    return f"{room:,} tokens, which leave {room - prompt:,} after a prompt of {prompt:,}: {', '.join(short)}" if short else None


def limits(config: LabConfig) -> tuple[int, ...]:
    """The limit on completion tokens at each sampling; the highest where it depends on the run."""
    schedule = LengthSchedule(config.length, config.scale.completion_budget, config.scale.steps)
    steps = range(0, config.scale.steps, config.batch.generation_every_steps)
    if schedule.state:
        return (schedule.maximum,) * len(steps)
    return tuple(schedule.limit(step) for step in steps)


def scores_again(config: LabConfig, fields: dict[str, Any]) -> bool:
    """Whether TRL computes the policy's own log-probabilities once more before training: to weigh what vLLM sampled,
    or where a batch is used for more than one step."""
    if config.rollout.uses_vllm and fields.get("vllm_importance_sampling_correction", True):
        return True
    return config.batch.generation_every_steps > 1


def evaluations(config: LabConfig) -> list[Sampling]:
    """Validation along the way, and each suite before, after and with the best weights."""
    evaluation, scale = config.evaluation, config.scale
    prompt = scale.mean_prompt_share * scale.prompt_budget
    limit, rows = evaluation.sampling.max_completion_tokens, evaluation.sampling.batch_size
    validation = evaluation.validation
    validations = -(-scale.steps // validation.every_steps)
    number = len(LEVELS) * validation.problems_per_level * validation.samples
    found = [Sampling("validation", 1 + validations, number, prompt, limit, rows, in_training=True)]
    for name, suite in evaluation.suites.items():
        if problems := suite.pool.size():
            times = 2 + (validations > 1)  # the best weights are the last ones where there is one validation
            found.append(Sampling(name, times, problems * suite.samples, prompt, limit, rows))
    return found
