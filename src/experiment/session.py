"""One training session: a trainer with its data, schedule, account and checkpoints."""

from dataclasses import dataclass
from functools import partial
from typing import Any

from datasets import Dataset
from transformers import PreTrainedModel, PreTrainedTokenizerBase, PrinterCallback
from trl import GRPOConfig, RLOOConfig

from src.common.files import file_hash
from src.config.teacher import teacher_of
from src.config.tree import LabConfig
from src.data.prompt import messages
from src.experiment.data import Data
from src.experiment.serving import engine_dtype
from src.grading.grader import Grader
from src.model.load import load_model, peft_config
from src.record.checkpoints import Checkpoints
from src.record.flops import size_of
from src.record.ledger import Ledger
from src.record.record import Record
from src.rollout import generation
from src.training.length import LengthSchedule
from src.training.reference import OptimizerReset
from src.training.reward import active
from src.training.selection.selection import Candidates, Selection
from src.training.stability import Monitor
from src.training.trainer import Harness, reward_functions, trainer_class, use_parts


@dataclass(frozen=True, slots=True)
class Learner:
    """What learns: a model, its tokenizer, and TRL's config for them."""

    model: PreTrainedModel
    tokenizer: PreTrainedTokenizerBase
    settings: GRPOConfig | RLOOConfig


def _teaching(config: LabConfig) -> dict[str, Any]:
    """What distillation takes besides what other trainers take."""
    if (teacher := teacher_of(config)) is None:
        return {}
    return {
        "teacher_model": load_model(teacher),
        "completions_per_prompt": config.algorithm.completions_per_prompt,
        "reward_weights": list(active(config.reward).values()),
    }


class Session:
    """A trainer with its data and schedule, ready to train or to be measured."""

    def __init__(
        self, config: LabConfig, learner: Learner, data: Data, grader: Grader, record: Record, ledger: Ledger
    ) -> None:
        self.config, self.data, self.grader, self.record, self.ledger = config, data, grader, record, ledger
        ledger.size = size_of(learner.model)  # before the trainer wraps it
        self.schedule = LengthSchedule(config.length, config.scale.completion_budget, config.scale.steps)
        problems = data.mix.problems
        index = {problem.id: number for number, problem in enumerate(problems)}
        order = (index[problem.id] for problem in data.mix.endless())
        candidates = Candidates(problems, data.mix.roles, order)
        self.selection = Selection(config.selection, candidates, self.schedule, config.seed, config.batch.generation_every_steps)
        self.checkpoints = Checkpoints(record.folder / "checkpoints", config.record.checkpoints_kept)
        self.progress = self.checkpoints.progress()
        rows = [
            {"prompt": messages(config.prompt, problem.question), "problem": number} for number, problem in enumerate(problems)
        ]
        use_parts(
            reference=partial(load_model, config.model),
            generation=partial(generation.LabGeneration, revision=config.model.revision, dtype=engine_dtype(config)),
        )
        self.trainer: Any = trainer_class(config.algorithm)(
            model=learner.model,
            reward_funcs=reward_functions(config.reward, lambda: self.trainer.batch),
            args=learner.settings,
            train_dataset=Dataset.from_list([rows[index[problem.id]] for problem in data.presentations]),
            processing_class=learner.tokenizer,
            peft_config=peft_config(config.model),
            **_teaching(config),
        )
        self.trainer.attach(
            Harness(
                rows=rows, problems=list(problems), grader=grader, selection=self.selection, schedule=self.schedule, ledger=ledger,
                checkpoints=self.checkpoints, progress=self._progress_now, padding=config.padding,
                prompts_at_once=config.batch.prompts_per_generation, reader=config.reward.accuracy.reader,
            )
        )
        self.trainer.remove_callback(PrinterCallback)
        if config.algorithm.reset_optimizer:
            self.trainer.add_callback(OptimizerReset)

    def _progress_now(self):
        if not self.config.selection.walks:
            problems = [self.data.mix.problems[number] for number in self.selection.presented]
            self.record.problems("problems", problems)
        self.progress.length = self.schedule.state
        self.progress.selection = self.selection.state_dict()
        self.progress.ledger = self.ledger.state_dict()
        self.progress.metrics = file_hash(self.record.folder / "metrics.jsonl")
        return self.progress

    def monitor(self) -> Monitor:
        """The monitor, knowing what the record and the newest checkpoint know. Rank 0's."""
        shuffled = self.config.mix.order == "shuffled" and self.config.selection.walks
        return Monitor(self.config.stability, shuffled, self.record.steps(), self.progress.stability)

    @property
    def policy(self):
        """The model that is trained, without the wrappers of distributed training; see `LabTrainerMixin.policy`."""
        return self.trainer.policy

    def restore(self) -> None:
        """Go back to the newest checkpoint's schedule and account, and drop the record's lines of later steps."""
        if self.progress.step:
            self.schedule.state = self.progress.length
            self.selection.restore(self.progress.selection, self.config.batch.presented(self.progress.step))
            before = sum(self.progress.ledger["seconds"].values())
            lines = self.record.steps()
            lost = max(0.0, lines[-1]["seconds/total"] - before) if lines else 0.0
            self.ledger.continue_from(self.progress.ledger, lost)
        self.record.rewind(self.progress.step)
