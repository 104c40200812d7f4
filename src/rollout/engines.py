"""Engines by name: which samples for a trainer. To add one, add its keys to config.py beside this and its class to `engine_for`."""

from src.rollout.engine import Engine
from src.rollout.in_process import TransformersEngine
from src.rollout.vllm import VllmEngine


def engine_for(trainer, batch_size: int) -> Engine:
    """The engine that samples from a trainer's policy as it now is."""
    if trainer.args.use_vllm:
        return VllmEngine(trainer.vllm_generation, trainer.ends, trainer.pushing_alone)
    return TransformersEngine(
        trainer.policy, trainer.processing_class, trainer.ends, batch_size, trainer.accelerator.device, trainer.sampling_dtype
    )
