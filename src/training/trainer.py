"""TRL's trainers with what the harness adds: a length limit that moves, rewards from graded completions, whole
checkpoints, and the step's rollout for the record. The policy gradient itself is TRL's.
"""

import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from transformers import Trainer
from trl import GRPOTrainer, RLOOTrainer

from src.common.errors import RunFailed
from src.common.types import Problem
from src.grading.completions import end_tokens, graded, opens_thinking
from src.grading.grader import Grader
from src.hardware.ranks import gather
from src.record.checkpoints import Checkpoints, Progress
from src.record.ledger import Ledger
from src.record.metrics import Rollout
from src.rollout.engine import divergence_in_words
from src.training import fsdp
from src.training.leave_one_out import LeaveOneOutTrainer
from src.training.length import LengthSchedule
from src.training.passes import NarrowPasses
from src.training.reward import REWARDS, RewardBatch, RewardConfig, active
from src.training.shortest_correct import ShortestCorrectTrainer


class LabTrainerMixin(NarrowPasses):
    """Goes in front of a TRL trainer class. `attach` must be called before `train`."""

    batch: RewardBatch  # the completions being rewarded
    rollout: Rollout  # that of the step in hand
    whole: fsdp.WholeCopy | None = None  # under FSDP2

    def attach(
        self,
        problems: list[Problem],
        grader: Grader,
        schedule: LengthSchedule,
        ledger: Ledger,
        checkpoints: Checkpoints,
        progress: Callable[[], Progress],
        padding: str,
    ) -> None:
        """`problems` are what the data set's column `problem` counts; `progress` is asked for at every checkpoint; `padding` is
        that of the configuration."""
        self.padding = padding
        self.problems, self.grader, self.schedule, self.ledger = problems, grader, schedule, ledger
        self.checkpoints, self.progress = checkpoints, progress
        self.ends = end_tokens(self.processing_class, self.model.generation_config)
        if self.is_fsdp_enabled:
            self.whole = fsdp.WholeCopy(self.model)

    # -- sharded weights ------------------------------------------------------------------------------------------

    def create_accelerator_and_postprocess(self) -> None:
        super().create_accelerator_and_postprocess()
        if self.args.fsdp:
            fsdp.shard_reference_by_layer()
        if self.args.fsdp and not self.is_fsdp_enabled:
            fsdp.enable(self.accelerator, self.args.fsdp_plugin_args)
            self.is_fsdp_enabled = True

    def _prepare_for_training(self, *args: Any, **kwargs: Any) -> tuple:
        prepared = super()._prepare_for_training(*args, **kwargs)
        if self.is_fsdp_enabled:
            fsdp.keep_in_step(self.model)
        return prepared

    @property
    def policy(self):
        """The model that is trained, whole; under FSDP2 rank 0's copy, as `gather_weights` left it."""
        return self.whole.model if self.whole else self.accelerator.unwrap_model(self.model)

    def gather_weights(self) -> None:
        """Have `policy` hold the weights as they are now; all processes must come here."""
        if self.whole:
            self.whole.update(self.model)

    def pushing_alone(self) -> AbstractContextManager[None]:
        """Where rank 0 pushes `policy` to vLLM without the other processes."""
        return self.whole.in_place_of_shards(self.vllm_generation) if self.whole else nullcontext()

    # -- sampling -------------------------------------------------------------------------------------------------

    def _generate(self, prompts: list) -> tuple:
        step = self.state.global_step
        self.limit = self.schedule.limit(step)
        self._apply_limit()
        # The random state of a step depends on the seed and the step alone, so a continued run samples what the
        # uninterrupted one would have.
        torch.manual_seed((self.args.seed * 1_000_003 + step) * 1_009 + self.accelerator.process_index)
        with self.ledger.phase("rollout"), divergence_in_words():
            output = super()._generate(prompts)
        self.schedule.observe(step, self._metrics["train"]["completions/clipped_ratio"][-1])
        self.tokens_B = [len(prompt) + len(completion) for prompt, completion in zip(output[0], output[1], strict=True)]
        self.ledger.prompt_tokens += sum(gather([sum(map(len, output[0]))]))
        self.ledger.completion_tokens += sum(gather([sum(map(len, output[1]))]))
        return output

    def _apply_limit(self) -> None:
        # Not self.max_completion_length: Dr. GRPO divides the loss by it, and that constant must not move.
        if self.use_vllm:
            self.vllm_generation.max_completion_length = self.limit
        else:
            self.generation_config.max_new_tokens = self.limit
            self.generation_kwargs["max_new_tokens"] = self.limit

    # -- rewards --------------------------------------------------------------------------------------------------

    def _calculate_rewards(self, inputs, prompts, completions, completion_ids_list) -> torch.Tensor:
        with self.ledger.phase("grading"):
            self.problems_B = [self.problems[row["problem"]] for row in inputs]
            answers = graded(self.problems_B, completion_ids_list, self.processing_class, self.ends, self.grader)
            self.batch = RewardBatch(
                answers, self.num_generations, self.limit, opens_thinking(self.processing_class)
            )
            self.rewards_BR = super()._calculate_rewards(inputs, prompts, completions, completion_ids_list)
        return self.rewards_BR

    def _generate_and_score_completions(self, inputs: list[dict]) -> dict:
        output = super()._generate_and_score_completions(inputs)
        self.rollout = Rollout(  # of all processes, in the order of the data
            limit=self.limit,
            problems=gather(self.problems_B),
            completions=gather(list(self.batch.completions)),
            rewards_BR=self.rewards_BR.tolist(),  # gathered by TRL
            advantages_B=gather(output["advantages"].tolist()),
        )
        self.timeouts = sum(gather([self.grader.timeouts]))
        self._charge_passes(output)
        return output

    # -- account --------------------------------------------------------------------------------------------------

    def _charge_passes(self, output: dict) -> None:
        """Charge what the batch went through before it is learnt from."""
        sampled, by_pass = sum(gather([sum(self.tokens_B)])), self.ledger.tokens_by_pass
        by_pass["generation"] += sampled
        by_pass["reference"] += sampled * (self.beta != 0)
        by_pass["old_policy"] += sampled * ("old_per_token_logps" in output or "old_logps" in output)
        output["lab_tokens"] = torch.tensor(self.tokens_B)  # TRL shuffles and splits it with the rest of the batch

    def _prepare_inputs(self, generation_batch: Any) -> dict:
        inputs = super()._prepare_inputs(generation_batch)
        if self.model.training:
            self.ledger.tokens_by_pass["training"] += sum(gather([int(inputs["lab_tokens"].sum())]))
        return inputs

    # -- safety ---------------------------------------------------------------------------------------------------

    def training_step(self, *args: Any, **kwargs: Any) -> torch.Tensor:
        loss = super().training_step(*args, **kwargs)
        if not self.accelerator.gather(loss.detach()).isfinite().all():  # so that all processes fail as one
            raise RunFailed(f"the loss is not finite at step {self.state.global_step + 1}")
        return loss

    def _save_checkpoint(self, model, trial) -> None:
        if not all(parameter.isfinite().all() for parameter in self.model.parameters()):
            raise RunFailed(f"the weights are not finite after step {self.state.global_step}")
        with self.ledger.phase("saving"):
            with self._writing_to_partial():
                Trainer._save_checkpoint(self, model, trial)  # not TRL's, which also writes a model card
            self.accelerator.wait_for_everyone()
            if self.accelerator.is_main_process:
                self.checkpoints.commit(self.progress())

    @contextmanager
    def _writing_to_partial(self):
        partial = self.checkpoints.partial
        if self.accelerator.is_main_process:
            shutil.rmtree(partial, ignore_errors=True)  # left by a kill
        self.accelerator.wait_for_everyone()
        final, self.args.output_dir = self.args.output_dir, str(partial)
        try:
            yield
        finally:
            self.args.output_dir = final


class LabGRPOTrainer(LabTrainerMixin, GRPOTrainer):
    """TRL's GRPOTrainer: https://huggingface.co/docs/trl/grpo_trainer"""


class LabRLOOTrainer(LabTrainerMixin, RLOOTrainer):
    """TRL's RLOOTrainer: https://huggingface.co/docs/trl/rloo_trainer"""


class LabLeaveOneOutTrainer(LabTrainerMixin, LeaveOneOutTrainer):
    """GRPOTrainer with RLOO's advantages."""


class LabShortestCorrectTrainer(LabTrainerMixin, ShortestCorrectTrainer):
    """GRPOTrainer made supervised."""

    def _generate_and_score_completions(self, inputs: list[dict]) -> dict:
        return self.demonstrations(super()._generate_and_score_completions(inputs))


TRAINERS = {  # by algorithm.trainer and algorithm.advantages
    ("grpo", "of_trainer"): LabGRPOTrainer,
    ("grpo", "leave_one_out"): LabLeaveOneOutTrainer,
    ("grpo", "shortest_correct"): LabShortestCorrectTrainer,
    ("rloo", "of_trainer"): LabRLOOTrainer,
}


def reward_functions(config: RewardConfig, batch: Callable[[], RewardBatch]) -> list[Callable[..., list[float]]]:
    """One function per active term in the form that TRL calls; each reads the step's graded completions."""

    def function_for(name: str) -> Callable[..., list[float]]:
        def term(**_: Any) -> list[float]:
            return REWARDS[name](batch(), config)

        term.__name__ = name  # TRL names the metrics after it
        return term

    return [function_for(name) for name in active(config)]
