"""A batch of chosen problems in the place of the data set's, and groups that are looked at before TRL learns from them.

TRL 1.16 samples what its data loader brings and learns from all of it. Here completions may be sampled beforehand, in rounds; TRL
then finds them ready where it would have sampled, and does the rest as ever.
"""

from collections.abc import Sequence
from typing import Any

import torch
from trl import GRPOTrainer

from src.hardware.ranks import gather, rank, world_size
from src.rollout.engine import divergence_in_words
from src.training.selection.sample import SAME_REWARD, Group, Sample, by_group, has_signal, tokens_of


class SelectedGroups:
    """Goes in front of a TRL trainer class. The class before it has `harness`, `begin_sampling` and, after rewarding, `batch`."""

    ready: list[Sample] | None = None  # of this process: what TRL will ask for
    numbers_B: list[int]  # of the problems of this process's rows, those in hand

    def _generate_and_score_completions(self, inputs: list[dict]) -> dict[str, Any]:
        selection, step, wanted = self.harness.selection, self.state.global_step, self.harness.prompts_at_once
        groups: list[Group] = []
        if selection.config.samples_first:
            groups = self._fill(step, wanted)
            self.ready = own_part([sample for group in groups for sample in group])
            self.numbers_B = [sample.problem for sample in self.ready]
            selection.train_on([group[0].problem for group in groups])
        elif selection.config.walks:
            self.numbers_B = [row["problem"] for row in inputs]
        else:
            self.numbers_B = own_part(repeated(selection.draw(step, wanted), [self.num_generations] * wanted))
        try:
            output = super()._generate_and_score_completions([self.harness.rows[number] for number in self.numbers_B])
            if selection.config.replay:
                self._weigh_and_remember(output, groups)
            if selection.config.allocate:
                self._put_advantages(output, [len(group) for group in groups])
            return output
        finally:
            self.ready = None

    # -- sampling before TRL does -----------------------------------------------------------------------------------

    def _fill(self, step: int, wanted: int) -> list[Group]:
        """Groups of all processes for one batch. Where those without a signal are to make room, they are sampled in rounds until
        each has one, or as many batches were drawn as there may be rounds; the last groups may have none then."""
        selection, ledger = self.harness.selection, self.harness.ledger
        resample, old = selection.config.resample, selection.replayed(step, wanted, world_size())
        most, began = resample.max_rounds if resample else 1, ledger.read()["rollout"]
        kept, rounds = list(old), 0
        others: list[Group] = []
        self.numbers_B = []
        self.begin_sampling()
        while (missing := wanted - len(kept)) > 0 and rounds < most:
            left = max(0, most * wanted - (len(kept) - len(old) + len(others)))
            problems = selection.draw(step, in_parts(min(selection.asked_for(missing), left)))
            problems = problems[: len(problems) // world_size() * world_size()]
            if not problems:
                break  # all have had their turn in this step
            for group in self._sample(problems, rounds):
                (kept if not resample or self._has_signal(group) else others).append(group)
            rounds += 1
        fresh, thrown = kept[len(old) :], (kept + others)[wanted:]
        selection.needed(len(fresh + others), len(fresh))
        share = tokens_of(thrown) / tokens_of(fresh + others)
        ledger.throw_away(tokens_of(thrown), share * (ledger.read()["rollout"] - began))
        selection.figures |= {
            "selection/rounds": rounds, "selection/drawn": len(fresh + others), "selection/replayed": len(old),
            "selection/thrown_away": len(thrown), "selection/thrown_tokens": tokens_of(thrown), "selection/thrown_share": share,
        }  # fmt: skip
        return (kept + others)[:wanted]

    def _sample(self, problems: Sequence[int], number: int) -> list[Group]:
        """A group for each problem, of all processes, in the order of the problems; `number` is the round's."""
        selection, step = self.harness.selection, self.state.global_step
        sizes = selection.sizes(problems, step, self.num_generations)
        self.numbers_B = own_part(repeated(problems, sizes))
        self.begin_sampling(number)
        rows = [self.harness.rows[problem] for problem in self.numbers_B]
        prompts = [row["prompt"] for row in rows]
        with self.harness.ledger.phase("rollout"), divergence_in_words():
            prompt_ids, images, fields = self._tokenize_prompts(prompts)
            found = self._generate_single_turn(prompt_ids, images, fields, *self._at_once)
        token_ids, logps = found if self._at_once else (found, None)
        completions = [
            [{"role": "assistant", "content": text}]
            for text in self.processing_class.batch_decode(token_ids, skip_special_tokens=True)
        ]
        rewards_BR = self._calculate_rewards(rows, prompts, completions, token_ids).tolist()
        graded = gather(list(zip(self.batch.completions, logps or [None] * len(rows), strict=True)))
        samples = [
            Sample(problem, completion, rewards_R, logps_T)
            for problem, (completion, logps_T), rewards_R in zip(repeated(problems, sizes), graded, rewards_BR, strict=True)
        ]
        groups = in_groups(samples, sizes)
        selection.saw(step, [(group[0].problem, [sample.completion for sample in group]) for group in groups])
        return groups

    def _has_signal(self, group: Group) -> bool:
        by_term = getattr(self.args, "multi_objective_aggregation", "") == "normalize_then_sum"  # GDPO compares each term by itself
        return has_signal(group, self.reward_weights.tolist(), by_term)

    @property
    def _at_once(self) -> tuple[int, ...]:
        """What TRL's sampling wants besides: completions of a prompt that stand next to each other, but for its RLOO."""
        if not isinstance(self, GRPOTrainer):
            return ()
        return (1 if self.harness.selection.config.allocate else self.num_generations,)

    def as_sampled(self) -> Any:
        """What TRL's sampling would return, of what is ready."""
        token_ids = [list(sample.completion.token_ids) for sample in self.ready]
        if not self._at_once:
            return token_ids
        logps = [sample.logps_T for sample in self.ready]
        return token_ids, None if None in logps else logps

    def rewards_ready(self) -> torch.Tensor:
        """Rewards of what is ready, of all processes: B x R."""
        return torch.tensor(gather([sample.rewards_R for sample in self.ready]), device=self.accelerator.device)

    # -- replay and groups of their own size ------------------------------------------------------------------------

    def _weigh_and_remember(self, output: dict[str, Any], groups: Sequence[Group]) -> None:
        """Have the loss weigh replayed completions by what sampled them, and keep the new groups with a signal.

        Where TRL corrects for vLLM's sampling, that ratio is of the policy to the sampler as it then was. Elsewhere the policy's
        log-probabilities of then stand in the place of those of now.
        """
        corrected = "importance_sampling_ratio" in output
        logps_BT, mask_BT = output.get("old_per_token_logps"), output["completion_mask"]
        if logps_BT is None:
            ids = torch.cat([output["prompt_ids"], output["completion_ids"]], dim=1)
            attention = torch.cat([output["prompt_mask"], mask_BT], dim=1)
            with torch.no_grad():
                logps_BT = self._get_per_token_logps_and_entropies(
                    self.model, ids, attention, mask_BT.size(1), self.args.per_device_train_batch_size
                )[0]
        for row, sample in enumerate(self.ready):
            if sample.policy_T is not None and not corrected:
                logps_BT[row, : len(sample.policy_T)] = torch.tensor(sample.policy_T, device=logps_BT.device)
        output["old_per_token_logps"] = logps_BT
        policy_BT = gather([logps_BT[row, : sample.completion.tokens].tolist() for row, sample in enumerate(self.ready)])
        sampled_by = in_groups(policy_BT, [len(group) for group in groups])
        fresh = [
            [sample.by(policy_T) for sample, policy_T in zip(group, policies, strict=True)]
            for group, policies in zip(groups, sampled_by, strict=True)
            if group[0].policy_T is None and self._has_signal(group)
        ]
        self.harness.selection.remember(self.state.global_step, fresh)

    def _put_advantages(self, output: dict[str, Any], sizes: Sequence[int]) -> None:
        """Advantages over groups of their own sizes in the place of TRL's, and its share of those without a signal."""
        others = getattr(self, "over_the_others", False)  # of the group, as leave_one_out.py has it
        advantages_B = by_group(self.rewards_B, sizes, self.scale_rewards, others)
        sizes_B = torch.tensor(repeated(sizes, sizes), device=advantages_B.device)
        output["advantages"] = own_part(advantages_B * (len(sizes_B) / len(sizes)) / sizes_B)  # prompts count the same
        equal = [len(group_G) for group_G in self.rewards_B.split(list(sizes)) if group_G.max() - group_G.min() <= SAME_REWARD]
        self._metrics["train"]["frac_reward_zero_std"][-1] = sum(equal) / len(self.rewards_B)


def repeated(problems: Sequence[int], sizes: Sequence[int]) -> list[int]:
    """Each problem as often as it has completions."""
    return [problem for problem, size in zip(problems, sizes, strict=True) for _ in range(size)]


def in_groups(rows: list, sizes: Sequence[int]) -> list[list]:
    ends = [sum(sizes[: number + 1]) for number in range(len(sizes))]
    return [rows[end - size : end] for end, size in zip(ends, sizes, strict=True)]


def own_part(rows: Any) -> Any:
    """This process's part of what all of them have."""
    size = len(rows) // world_size()
    return rows[rank() * size : (rank() + 1) * size]


def in_parts(number: int) -> int:
    """The next number that can be shared out evenly."""
    return -(-number // world_size()) * world_size()
