"""A reference policy that moves: TRL's `sync_ref_model` mixes the policy into it every `ref_model_sync_steps` updates, with
`ref_model_mixup_alpha: 1.0` a reset. TRL's checkpoints do not hold it; here they do, so that a continued run goes on with it. With
`algorithm.reset_optimizer` the optimiser begins anew when it moves, as in ProRL (arXiv 2505.24864, section 2.3).
"""

from pathlib import Path
from typing import Any

from safetensors.torch import load_model, save_model
from transformers import TrainerCallback

from src.record.checkpoints import REFERENCE as FILE


class OptimizerReset(TrainerCallback):
    """Has the optimiser forget its moments, and how many steps they are of, in the steps in which TRL moves the reference."""

    def on_step_end(self, args, state, control, optimizer=None, **_: Any) -> None:
        if state.global_step % args.ref_model_sync_steps == 0:
            optimizer.state.clear()


class MovingReference:
    """Goes in front of a TRL trainer class."""

    @property
    def _moves(self) -> bool:
        return getattr(self.args, "sync_ref_model", False)  # distillation has no such field

    def save_model(self, output_dir: str | None = None, _internal_call: bool = False) -> None:
        super().save_model(output_dir, _internal_call)
        if self._moves and self.accelerator.is_main_process:
            save_model(self.accelerator.unwrap_model(self.ref_model), str(Path(output_dir or self.args.output_dir) / FILE))

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        super()._load_from_checkpoint(resume_from_checkpoint, model)
        if self._moves and (file := Path(resume_from_checkpoint) / FILE).is_file():
            load_model(self.accelerator.unwrap_model(self.ref_model), str(file))
