"""Out of memory in one line: what the plan counted, and the settings that would fit."""

from collections.abc import Iterator
from contextlib import contextmanager

from src.common.errors import RunFailed, UserError
from src.config.tree import LabConfig
from src.plan.fit import remedies_below
from src.plan.plan import Plan

# How torch and vLLM say it. vLLM raises plain ValueErrors, in a RuntimeError where its engine is a process.
COMPUTING = ("out of memory", "can't allocate memory", "DefaultCPUAllocator")
CACHE = (
    "No available memory for the cache blocks", "larger than the available KV cache", "less than desired GPU memory",
)


@contextmanager
def memory_in_words(config: LabConfig, plan: Plan | None) -> Iterator[None]:
    """Turn torch's and vLLM's complaints about memory into RunFailed."""
    try:
        yield
    except (MemoryError, RuntimeError, ValueError) as error:
        said = f"{error} {error.__cause__ or ''}"
        if isinstance(error, UserError | RunFailed):
            raise
        if any(words in said for words in CACHE):
            raise RunFailed(no_room_for_cache(config, plan, said)) from error
        if isinstance(error, MemoryError) or any(words in said for words in COMPUTING):
            raise RunFailed(no_room_to_compute(config, plan)) from error
        raise


@contextmanager
def measuring_memory_in_words(config: LabConfig) -> Iterator[None]:
    """Turn torch's complaints about memory while a model is measured into RunFailed; vLLM shares its cache out by itself."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        batch = config.evaluation.sampling.batch_size
        full = isinstance(error, MemoryError) or any(words in str(error) for words in COMPUTING)
        if isinstance(error, RunFailed) or config.rollout.engine != "transformers" or not full:
            raise
        raise RunFailed(
            f"out of memory while measuring with evaluation.sampling.batch_size={batch}; start again with a smaller one, such "
            f"as evaluation.sampling.batch_size={max(1, batch // 4)}"
        ) from error


def no_room_to_compute(config: LabConfig, plan: Plan | None) -> str:
    """The line for a device that ran out of memory."""
    batch = config.hardware.device_batch_size
    said = f"out of memory with hardware.device_batch_size={batch}"
    if plan:
        parts = ", ".join(f"{name} {size:.1f}" for name, size in plan.memory_gb.items() if size >= 0.05)
        said += f"; the plan counts {max(plan.peak_gb.values()):.1f} GB of {plan.available_gb:.1f} ({parts})"
    return f"{said}; start again with one of {', '.join(remedies_below(config))}"


def no_room_for_cache(config: LabConfig, plan: Plan | None, said: str) -> str:
    """The line for a vLLM engine that finds no room for its weights and cache."""
    share = getattr(config.rollout, "gpu_memory_share", None)
    taken = "other processes hold memory of this GPU" if "less than desired" in said else "its share is too small"
    counted = f"; the plan counts {plan.peak_gb['sampling']:.1f} GB while sampling" if plan else ""
    longest = max(config.evaluation.sampling.max_completion_tokens, config.scale.completion_budget)
    longest += config.scale.prompt_budget
    changes = [f"trainer.vllm_max_model_length={longest}"]
    if share is not None:
        step = -0.1 if "less than desired" in said else 0.1
        changes.insert(0, f"rollout.gpu_memory_share={min(0.95, max(0.05, share + step)):.2g}")
    return f"vLLM has no room for its cache ({taken}){counted}; start again with {' or '.join(changes)}"
