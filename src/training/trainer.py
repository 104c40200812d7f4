"""TRL's trainers with what the harness adds: a length limit that moves, rewards from graded completions, whole
checkpoints, and the step's rollout for the record. The policy gradient itself is TRL's.
"""

import pkgutil
import shutil
from collections.abc import Callable
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from transformers import Trainer
from trl import GRPOTrainer, RLOOTrainer
from trl.trainer import distillation_trainer, grpo_trainer, rloo_trainer

from src.common.errors import RunFailed
from src.common.types import Problem
from src.grading.completions import end_tokens, graded, opens_thinking
from src.grading.grader import Grader
from src.hardware.ranks import gather
from src.record.checkpoints import Checkpoints, Progress
from src.record.ledger import Ledger
from src.record.metrics import Rollout
from src.rollout.engine import divergence_in_words, limit_after
from src.rollout.in_process import weights_in
from src.training import fsdp
from src.training.algorithm import ADVANTAGES, AlgorithmConfig
from src.training.length import LengthSchedule
from src.training.own_terms import graded_by
from src.training.passes import NarrowPasses
from src.training.reference import MovingReference
from src.training.reward import REWARDS, RewardBatch, RewardConfig, active
from src.training.selection.groups import SelectedGroups, own_part
from src.training.selection.sample import SAME_REWARD
from src.training.selection.selection import Selection


@dataclass(frozen=True, slots=True)
class Harness:
    """What a trainer is given besides what TRL takes."""

    rows: list[dict[str, Any]]  # of the data set, one for each problem
    problems: list[Problem]  # those that the data set's column `problem` counts
    grader: Grader
    selection: Selection
    schedule: LengthSchedule
    ledger: Ledger
    checkpoints: Checkpoints
    progress: Callable[[], Progress]  # asked for at every checkpoint
    padding: str  # that of the configuration
    prompts_at_once: int  # that are sampled for, of all processes
    reader: str = "boxed"  # where an answer may stand, one of `grading.extraction.READERS`


class LabTrainerMixin(SelectedGroups, MovingReference, NarrowPasses):
    """Goes in front of a TRL trainer class. `attach` must be called before `train`."""

    batch: RewardBatch  # the completions being rewarded
    rollout: Rollout  # that of the step in hand
    whole: fsdp.WholeCopy | None = None  # under FSDP2

    def attach(self, harness: Harness) -> None:
        self.harness, self.padding = harness, harness.padding
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

    def begin_sampling(self, number: int = 0) -> None:
        """Set the limits and the random state for sampling the rows in hand, in one of a step's rounds."""
        step = self.state.global_step
        self.limit = self.harness.schedule.limit(step)
        self.limits_B = [self.harness.schedule.limit_of(problem, step) for problem in self.numbers_B]
        own = gather(self.limits_B) if self.harness.schedule.config.per_problem else []
        self.highest_limit = max(own, default=self.limit)
        if self.use_vllm:  # not self.max_completion_length: Dr. GRPO divides the loss by it, and that constant must not move
            self.vllm_generation.max_completion_length = self.highest_limit
        # The random state of a step depends on the seed and the step alone, so a continued run samples what the
        # uninterrupted one would have.
        place = number * self.accelerator.num_processes + self.accelerator.process_index
        seed = (self.args.seed * 1_000_003 + step) * 1_009 + place
        torch.manual_seed(seed)
        np.random.seed(seed % 2**32)  # from which vLLM, in this process and on a GPU, draws the seeds of requests
        if self.use_vllm and self.vllm_mode == "server":
            # A seed belongs to a request: with one for each completion, all of a prompt's would be equal.
            own = self.harness.selection.config.allocate or isinstance(self, distillation_trainer.DistillationTrainer)
            kept = self.vllm_generation.generation_kwargs or {}
            self.vllm_generation.generation_kwargs = kept | {"seed": None if own else seed % 2**32}

    def _generate(self, prompts: list) -> tuple:
        if self.ready is None:
            self.begin_sampling()
        with self.harness.ledger.phase("rollout"), divergence_in_words():
            output = super()._generate(prompts)
        self.harness.schedule.observe(self.state.global_step, self._metrics["train"]["completions/clipped_ratio"][-1])
        self.tokens_B = [len(prompt) + len(completion) for prompt, completion in zip(output[0], output[1], strict=True)]
        return output

    @property
    def sampling_dtype(self) -> torch.dtype | None:
        """What transformers samples in, where that is not what the weights are in: the bfloat16 that training computes in."""
        return torch.bfloat16 if self.args.bf16 and not self.use_vllm else None

    def _generate_single_turn(self, prompt_ids: list[list[int]], *args: Any, **kwargs: Any) -> Any:
        if self.ready is not None:
            return self.as_sampled()
        if not self.use_vllm:  # one limit for all, so what the longest prompt leaves of the context; vLLM sees to each by itself
            room = self.accelerator.unwrap_model(self.model).config.max_position_embeddings
            limit = limit_after(max(prompt_ids, key=len), self.highest_limit, room)
            self.generation_config.max_new_tokens = self.generation_kwargs["max_new_tokens"] = limit
        # Sharded weights are cast as they are gathered, by FSDP2's own policy and by DeepSpeed.
        whole = not (self.is_fsdp_enabled or self.is_deepspeed_enabled)
        with weights_in(self.accelerator.unwrap_model(self.model), self.sampling_dtype if whole else None):
            output = super()._generate_single_turn(prompt_ids, *args, **kwargs)
        parts = output if isinstance(output, tuple) else (output,)  # TRL's RLOO has no log-probabilities beside the ids
        cut = tuple(part and [row[:limit] for row, limit in zip(part, self.limits_B, strict=True)] for part in parts)
        prompts, sampled, kept = (sum(gather([sum(map(len, ids))])) for ids in (prompt_ids, parts[0], cut[0]))
        self.harness.ledger.prompt_tokens += prompts
        self.harness.ledger.completion_tokens += sampled
        self.harness.ledger.throw_away(sampled - kept, 0.0)
        self.harness.ledger.tokens_by_pass["generation"] += prompts + sampled
        return cut if isinstance(output, tuple) else cut[0]

    # -- rewards --------------------------------------------------------------------------------------------------

    def _calculate_rewards(self, inputs, prompts, completions, completion_ids_list) -> torch.Tensor:
        with self.harness.ledger.phase("grading"):
            problems_B = [self.harness.problems[row["problem"]] for row in inputs]
            answers = [sample.completion for sample in self.ready or ()] or graded(
                problems_B, completion_ids_list, self.processing_class, self.ends, self.harness.grader,
                reader=self.harness.reader,
            )
            group = 1 if self.harness.selection.config.allocate else self.num_generations  # where no term compares the others
            self.batch = RewardBatch(answers, group, self.limit, opens_thinking(self.processing_class), problems_B)
            if self.ready is None:
                self.rewards_BR = super()._calculate_rewards(inputs, prompts, completions, completion_ids_list)
            else:
                self.rewards_BR = self.rewards_ready()
            self.rewards_B = (self.rewards_BR * self.reward_weights.to(self.rewards_BR.device)).sum(dim=1)
        return self.rewards_BR

    def _generate_and_score_completions(self, inputs: list[dict]) -> dict:
        output = super()._generate_and_score_completions(inputs)
        if getattr(self, "scale_rewards", None) == "batch" and not self.harness.selection.config.allocate:
            # TRL counts by what it divides by, which is one number for all then.
            rewards_PG = self.rewards_B.view(-1, self.num_generations)
            equal_P = rewards_PG.max(dim=1).values - rewards_PG.min(dim=1).values <= SAME_REWARD
            self._metrics["train"]["frac_reward_zero_std"][-1] = equal_P.float().mean().item()
        numbers_B = gather(self.numbers_B)
        self.rollout = Rollout(  # of all processes, in the order of the data
            limit=self.limit,
            problems=[self.harness.problems[number] for number in numbers_B],
            completions=gather(list(self.batch.completions)),
            rewards_BR=self.rewards_BR.tolist(),  # gathered by TRL
            advantages_B=gather(output["advantages"].tolist()),
        )
        self._tell_selection(numbers_B)
        self.timeouts = sum(gather([self.harness.grader.timeouts]))
        if "importance_sampling_ratio" in output:
            share = effective_share(output["importance_sampling_ratio"], output["completion_mask"])
            self._metrics["train"]["sampling/effective_sample_share"].append(share)
        self._charge_passes(output)
        return output

    def _tell_selection(self, numbers_B: list[int]) -> None:
        """What the batch is of, and what came of it where that was not seen before."""
        selection, group = self.harness.selection, self.num_generations
        if selection.config.samples_first:
            return
        starts = range(0, len(numbers_B), group)
        selection.train_on([numbers_B[at] for at in starts])
        completions = self.rollout.completions
        selection.saw(self.state.global_step, [(numbers_B[at], completions[at : at + group]) for at in starts])

    # -- account --------------------------------------------------------------------------------------------------

    def _charge_passes(self, output: dict) -> None:
        """Charge what the batch went through before it is learnt from; sampling was charged when it was done."""
        sampled, by_pass = sum(gather([sum(self.tokens_B)])), self.harness.ledger.tokens_by_pass
        by_pass["reference"] += round(sampled * self.reference_size)
        by_pass["old_policy"] += sampled * ("old_per_token_logps" in output or "old_logps" in output)
        output["lab_tokens"] = torch.tensor(self.tokens_B)  # TRL shuffles and splits it with the rest of the batch

    @property
    def reference_size(self) -> float:
        """That of the model which sees all that was sampled beside the policy, in policies; 0 without one."""
        return float(self.beta != 0)

    def _prepare_inputs(self, generation_batch: Any) -> dict:
        inputs = super()._prepare_inputs(generation_batch)
        if self.model.training:
            self.harness.ledger.tokens_by_pass["training"] += sum(gather([int(inputs["lab_tokens"].sum())]))
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
        with self.harness.ledger.phase("saving"):
            with self._writing_to_partial(), self._own_generation_config():
                Trainer._save_checkpoint(self, model, trial)  # type: ignore[arg-type]  # not TRL's, which also writes a model card
            self.accelerator.wait_for_everyone()
            if self.accelerator.is_main_process:
                self.harness.checkpoints.commit(self.harness.progress())

    @contextmanager
    def _own_generation_config(self):
        """Checkpoints say how the model's makers would have it sampled."""
        model = self.accelerator.unwrap_model(self.model)
        model = model.get_base_model() if hasattr(model, "get_base_model") else model
        plain, model.generation_config = model.generation_config, model.own_generation_config
        try:
            yield
        finally:
            model.generation_config = plain

    @contextmanager
    def _writing_to_partial(self):
        partial = self.harness.checkpoints.partial
        if self.accelerator.is_main_process:
            shutil.rmtree(partial, ignore_errors=True)  # left by a kill
        self.accelerator.wait_for_everyone()
        final, self.args.output_dir = self.args.output_dir, str(partial)
        try:
            yield
        finally:
            self.args.output_dir = final


class OwnAdvantages(GRPOTrainer):
    """TRL's GRPOTrainer with other advantages than its own; a class in front sets `rewards_B`."""

    rewards_B: torch.Tensor  # of all processes, weighed

    def advantages(self, rewards_B: torch.Tensor, output: dict[str, Any]) -> torch.Tensor:
        """Advantages of the B completions of all processes, those of a prompt next to each other; `output` is what TRL made
        of this process's."""
        raise NotImplementedError

    def _generate_and_score_completions(self, inputs: list[dict]) -> dict[str, Any]:
        output = super()._generate_and_score_completions(inputs)
        output["advantages"] = own_part(self.advantages(self.rewards_B, output))
        return output


class LabGRPOTrainer(LabTrainerMixin, GRPOTrainer):
    """TRL's GRPOTrainer: https://huggingface.co/docs/trl/grpo_trainer"""


class LabRLOOTrainer(LabTrainerMixin, RLOOTrainer):
    """TRL's RLOOTrainer: https://huggingface.co/docs/trl/rloo_trainer"""


TRAINERS = {  # as text, since some are in modules above this one
    "grpo": "src.training.trainer:LabGRPOTrainer",
    "rloo": "src.training.trainer:LabRLOOTrainer",
    "distillation": "src.training.distill:LabDistillationTrainer",
}


def effective_share(ratio_BT: torch.Tensor, mask_BT: torch.Tensor) -> float:
    """Kish's effective sample size of importance ratios, of tokens or of whole completions, as a share of their number; over
    all processes."""
    ratios = ratio_BT.flatten() if ratio_BT.shape[1] == 1 else ratio_BT[mask_BT.bool()]
    number, total, squares = (sum(gather([float(part)])) for part in (ratios.numel(), ratios.sum(), (ratios**2).sum()))
    return total**2 / (number * squares) if squares else 0.0


def use_parts(reference: Callable[[], Any], generation: Callable[..., Any]) -> None:
    """Have TRL's trainers take what these make for their reference model and their `VLLMGeneration`. Their own reference is of the
    hub's main branch, whatever the policy is of, and spread over all GPUs that one process sees, the server's too."""
    for module in (grpo_trainer, rloo_trainer, distillation_trainer):
        module.create_model_from_path, module.VLLMGeneration = lambda *_, **__: reference(), generation


def trainer_class(algorithm: AlgorithmConfig) -> type[Any]:
    """TRL's trainer with what the harness adds, or the one that the advantages ask for."""
    return pkgutil.resolve_name(ADVANTAGES[algorithm.advantages].trainer or TRAINERS[algorithm.trainer])


def reward_functions(config: RewardConfig, batch: Callable[[], RewardBatch]) -> list[Callable[..., list[float]]]:
    """One function per active term in the form that TRL calls; each reads the step's graded completions."""

    def function_for(name: str) -> Callable[..., list[float]]:
        def term(**_: Any) -> list[float]:
            if name in REWARDS:
                return REWARDS[name](batch(), config)
            rewards, fault = graded_by(name, batch(), config)
            if faults := [each for each in gather([fault]) if each]:  # so that all processes fail as one
                raise RunFailed(faults[0])
            return rewards

        term.__name__ = name  # TRL names the metrics after it
        return term

    return [function_for(name) for name in active(config)]
