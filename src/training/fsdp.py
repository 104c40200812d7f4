"""FSDP2, torch's `fully_shard` (arXiv 2304.11277), through accelerate: weights, gradients and optimiser are shared out
over the training processes, layer by layer. What the harness adds: it works on a CPU too, the reference model is shared
out by layer as well, sampling keeps the processes in step, and rank 0 has a whole copy of the weights to measure alone.
"""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from src.common.errors import RunFailed
from src.hardware.ranks import is_first

# Checkpoints are whole, so that any number of processes goes on from them.
SETTINGS = {"version": 2, "reshard_after_forward": True, "state_dict_type": "FULL_STATE_DICT"}


def enable(accelerator, plugin_arguments: dict[str, Any]) -> None:
    """Have accelerate shard on a CPU, where it would do DDP without a word; torch's `fully_shard` works there."""
    from accelerate import PartialState
    from accelerate.utils import DistributedType, FullyShardedDataParallelPlugin

    PartialState().distributed_type = accelerator.state.distributed_type = DistributedType.FSDP
    accelerator.state.fsdp_plugin = FullyShardedDataParallelPlugin(**plugin_arguments)


def shard_reference_by_layer() -> None:
    """Have TRL's trainers share out the reference model as accelerate does the trained one. TRL by itself makes one piece of
    it, which every process then gathers whole in each forward pass: 145 GB of a model with 72B parameters in bf16."""
    from trl.trainer import grpo_trainer, rloo_trainer

    grpo_trainer.prepare_fsdp = rloo_trainer.prepare_fsdp = prepare_by_layer


def prepare_by_layer(model, accelerator):
    """TRL's `prepare_fsdp` after each layer of `model` has been sharded by itself."""
    from torch.distributed.fsdp import MixedPrecisionPolicy, fully_shard
    from trl.models import prepare_fsdp

    plugin, names = accelerator.state.fsdp_plugin, model._no_split_modules or ()
    layers = [module for module in model.modules() if type(module).__name__ in names]
    if not layers:
        raise RunFailed(f"hardware.sharding=fsdp2: {type(model).__name__} does not name its layers; choose none or zero2")
    for layer in layers:
        fully_shard(
            layer,
            reshard_after_forward=plugin.reshard_after_forward,
            mp_policy=plugin.mixed_precision_policy or MixedPrecisionPolicy(),
        )
    return prepare_fsdp(model, accelerator)


def keep_in_step(model) -> None:
    """Have `generate` go on in every process until the last one's completions have ended: each token gathers weights."""
    for module in model.modules():
        if hasattr(module, "generate"):
            module._is_fsdp_managed_module = True  # what transformers marks its own sharded models with


class WholeCopy:
    """The weights of a sharded model as rank 0 can use them alone; they wait on the CPU."""

    def __init__(self, model) -> None:
        """To be made before `model` is sharded."""
        self.model = copy.deepcopy(model).cpu() if is_first() else None
        for module in self.model.modules() if self.model else ():
            module.__dict__.pop("forward", None)  # TRL's and accelerate's, which are bound to the model that is sharded

    def update(self, sharded) -> None:
        """Take over the weights as they are now; all processes must come here."""
        from torch.distributed.checkpoint.state_dict import StateDictOptions, get_model_state_dict

        state = get_model_state_dict(sharded, options=StateDictOptions(full_state_dict=True, cpu_offload=True))
        if self.model is not None:  # the others get an empty state
            self.model.load_state_dict(state)

    @contextmanager
    def in_place_of_shards(self, generation) -> Iterator[None]:
        """Have TRL's `VLLMGeneration` push the copy's weights, for which it needs no other process."""
        changes = {(generation, "model"): self.model, (generation, "_weight_metadata"): None,
                   (generation._dist, "fsdp_version"): None}
        kept = {(owner, name): getattr(owner, name) for owner, name in changes}
        try:
            for (owner, name), value in changes.items():
                setattr(owner, name, value)
            yield
        finally:
            for (owner, name), value in kept.items():
                setattr(owner, name, value)
