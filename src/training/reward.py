"""Rewards: named terms, each a function of the sampled completions, added up with the weights of the config.

To add a term, write a function of (batch, config) that returns one number for each completion, and name it in REWARDS;
`reward.weights.<name>=<weight>`, or a file in conf/reward/, turns it on. The same function in a file of one's own, outside the
project, is a term by `reward.terms.<name>=my_lab.rewards.partial_credit`; it sees the problems too, with all columns of their rows.

Lengths are in tokens unless a term says otherwise. The terms `efficient` and `length_kimi` compare the completions of
one prompt, so a batch must hold whole groups.
"""

import math
import re
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from pydantic import Field, FiniteFloat, field_validator, model_validator

from src.common.base import Config
from src.common.errors import nearest
from src.common.own_code import OwnCode
from src.common.types import Completion, Problem
from src.grading.looks import SCRIPTS, has_format, script_share


class CosineConfig(Config):
    """Reward of a completion of length 0 and of one as long as the scale; half a cosine wave joins the two."""

    correct_at_zero: FiniteFloat = 1.0
    correct_at_scale: FiniteFloat = 0.5
    wrong_at_zero: FiniteFloat = -0.5
    wrong_at_scale: FiniteFloat = 0.0


class SoftOverlongConfig(Config):
    """Where the penalty begins: the last part of the length limit, as a fraction of it."""

    interval_fraction: float = Field(0.2, gt=0, le=1)


class RepetitionConfig(Config):
    """Length of the n-grams in tokens, and the reward of a text that only repeats itself."""

    ngram_tokens: int = Field(3, ge=1)
    max_penalty: FiniteFloat = Field(-1.0, le=0)


class LanguageConfig(Config):
    """The script asked for: one of SCRIPTS."""

    script: str = "latin"

    @field_validator("script")
    @classmethod
    def _known(cls, script: str) -> str:
        if script not in SCRIPTS:
            raise ValueError(f"no script '{script}': {nearest(script, SCRIPTS)}")
        return script


class TagCountConfig(Config):
    """Whether the prompt ends with `<think>`, so that the completion is to close the tag but not to open it.

    None: as the model's chat template has it.
    """

    opened_by_template: bool | None = None


class AccuracyConfig(Config):
    """Where an answer counts: only after thinking, and not inside thinking that is never closed; only in a box."""

    after_think: bool = True
    reader: Literal["boxed", "last_expression"] = "boxed"  # of all terms that ask whether an answer is correct


class RewardConfig(Config):
    """Weight of every term, and the parameters of the terms that have some."""

    weights: dict[str, float]  # by term, 0 = off, below 0 = a penalty; a term that is not named is off, but one of one's own
    terms: dict[str, OwnCode] = {}  # functions of one's own, by the name of the term; each has the weight 1 unless weights says another
    alpha: float = Field(0.1, ge=0, lt=1)  # length pressure of `efficient`
    cosine: CosineConfig = CosineConfig()
    cosine_open_rs: CosineConfig = CosineConfig(wrong_at_zero=0.0, wrong_at_scale=-0.5)
    soft_overlong: SoftOverlongConfig = SoftOverlongConfig()
    repetition: RepetitionConfig = RepetitionConfig()
    language: LanguageConfig = LanguageConfig()
    tag_count: TagCountConfig = TagCountConfig()
    accuracy: AccuracyConfig = AccuracyConfig()

    @field_validator("terms")
    @classmethod
    def _new_names(cls, terms: dict[str, OwnCode]) -> dict[str, OwnCode]:
        if taken := [name for name in terms if name in REWARDS]:
            raise ValueError(f"{taken[0]} is a term of the project; give your own another name")
        return terms

    @model_validator(mode="after")
    def _usable(self) -> "RewardConfig":
        for name in self.weights:
            if name not in (known := [*REWARDS, *self.terms]):
                raise ValueError(f"no reward term '{name}': {nearest(name, known)}")
        if not active(self):
            raise ValueError("all weights are 0, so nothing would be rewarded: give at least one term another")
        return self


@dataclass(frozen=True, slots=True)
class RewardBatch:
    """What a term sees: completions of one step, those of one prompt next to each other."""

    completions: Sequence[Completion]  # groups of group_size belong to one prompt each
    group_size: int
    limit_tokens: int  # the length limit of this step, which is also the scale of the length terms
    opened: bool | None = None  # whether the prompts end with <think>; None where nobody knows
    problems: Sequence[Problem] = ()  # one for each completion: question, gold answer, level, the other columns of its row

    def __post_init__(self) -> None:
        if self.group_size < 1 or len(self.completions) % self.group_size:
            raise ValueError(f"{len(self.completions)} completions do not divide into groups of {self.group_size}")
        if self.limit_tokens < 1:
            raise ValueError(f"limit_tokens is {self.limit_tokens}, it must be at least 1")

    def groups(self) -> Iterator[Sequence[Completion]]:
        """The completions of one prompt after the other."""
        for start in range(0, len(self.completions), self.group_size):
            yield self.completions[start : start + self.group_size]


def active(config: RewardConfig) -> dict[str, float]:
    """Weight of each term that is on, in the order of the config."""
    return {name: weight for name, weight in (dict.fromkeys(config.terms, 1.0) | config.weights).items() if weight}


def accuracy(batch: RewardBatch, config: RewardConfig) -> list[float]:
    """1 for a correct answer, 0 for any other, and with after_think 0 for one inside thinking that is not finished.

    Open-RS (arXiv 2503.16219) gives 1 as well where the gold answer is unreadable; here such problems are left out
    when they are loaded.
    """
    unfinished = [config.accuracy.after_think and _unfinished(c.text, batch.opened) for c in batch.completions]
    return [float(c.verdict.correct and not open_) for c, open_ in zip(batch.completions, unfinished, strict=True)]


def _unfinished(text: str, opened: bool | None) -> bool:
    """Whether thinking begins, in the prompt or in the text, and does not end."""
    return "</think>" not in text and (opened is True or "<think>" in text)


def format_(batch: RewardBatch, config: RewardConfig) -> list[float]:
    """1 for a text with the reasoning closed as `has_format` says, else 0 (Open-RS, arXiv 2503.16219, as released)."""
    return [float(has_format(completion.text)) for completion in batch.completions]


def cosine(batch: RewardBatch, config: RewardConfig) -> list[float]:
    """Cosine reward as the Open-RS paper describes it: length in tokens over the limit, held at 1 beyond it.

    arXiv 2503.16219, after arXiv 2502.03373, appendix C.1; the formula is that of TRL's get_cosine_scaled_reward
    (which cannot be called here because it grades by itself). Correct: the shorter the better. Wrong: the shorter the
    worse.
    """
    return [
        _half_wave(min(completion.tokens / batch.limit_tokens, 1.0), completion, config.cosine)
        for completion in batch.completions
    ]


def cosine_open_rs(batch: RewardBatch, config: RewardConfig) -> list[float]:
    """Cosine reward as the Open-RS code has it: length in CHARACTERS over the limit's number, and no upper bound.

    So it repeats with a period of twice the scale (7,168 characters at 3,584), and a completion of that length gets
    the reward of an empty one. By default longer wrong answers are punished more, the opposite of the paper.
    """
    return [
        _half_wave(len(completion.text) / batch.limit_tokens, completion, config.cosine_open_rs)
        for completion in batch.completions
    ]


def _half_wave(progress: float, completion: Completion, values: CosineConfig) -> float:
    if completion.verdict.correct:
        first, last = values.correct_at_zero, values.correct_at_scale
    else:
        first, last = values.wrong_at_zero, values.wrong_at_scale
    return last + 0.5 * (first - last) * (1.0 + math.cos(math.pi * progress))


def efficient(batch: RewardBatch, config: RewardConfig) -> list[float]:
    """1 - alpha · sigmoid((tokens - mean) / (std + 1e-7)) if correct and complete, else 0 (arXiv 2502.04463).

    Mean and population std are those of the correct, complete completions of the same prompt; complete means that an
    end-of-sequence token came before the limit. For alpha below 1 any such completion is above any other; a single
    one in its group gets 1 - alpha / 2.
    """
    return [reward for group in batch.groups() for reward in _efficient_group(group, config.alpha)]


def _efficient_group(group: Sequence[Completion], alpha: float) -> list[float]:
    solved = [completion.verdict.correct and not completion.truncated for completion in group]
    lengths = [completion.tokens for completion, ok in zip(group, solved, strict=True) if ok]
    if not lengths:
        return [0.0] * len(group)
    mean, std = statistics.fmean(lengths), statistics.pstdev(lengths)
    return [
        1.0 - alpha / (1.0 + math.exp(-(completion.tokens - mean) / (std + 1e-7))) if ok else 0.0
        for completion, ok in zip(group, solved, strict=True)
    ]


def length_kimi(batch: RewardBatch, config: RewardConfig) -> list[float]:
    """Kimi k1.5's length reward (arXiv 2501.12599, section on the length penalty), from -0.5 to 0.5.

    With x = 0.5 - (tokens - shortest) / (longest - shortest) over all completions of the prompt: x if correct,
    min(0, x) if wrong; 0 for all where all are of one length.
    """
    return [reward for group in batch.groups() for reward in _length_kimi_group(group)]


def _length_kimi_group(group: Sequence[Completion]) -> list[float]:
    lengths = [completion.tokens for completion in group]
    shortest, span = min(lengths), max(lengths) - min(lengths)
    if span == 0:
        return [0.0] * len(group)
    scores = [0.5 - (length - shortest) / span for length in lengths]
    return [x if c.verdict.correct else min(0.0, x) for x, c in zip(scores, group, strict=True)]


def soft_overlong(batch: RewardBatch, config: RewardConfig) -> list[float]:
    """0 up to the penalty interval at the end of the limit, falling to -1 over it (DAPO, arXiv 2503.14476, eq. 13).

    TRL's get_soft_overlong_punishment. The interval is in whole tokens, at least 1.
    """
    from trl.rewards import get_soft_overlong_punishment

    interval_tokens = max(1, math.floor(config.soft_overlong.interval_fraction * batch.limit_tokens + 0.5))
    punish = get_soft_overlong_punishment(batch.limit_tokens, interval_tokens)
    # Only the lengths are read, so a range of that length stands for the token ids.
    return punish([range(completion.tokens) for completion in batch.completions])


def repetition(batch: RewardBatch, config: RewardConfig) -> list[float]:
    """Share of the token n-grams that repeat an earlier one, times max_penalty (arXiv 2502.03373, appendix C.2).

    TRL's get_repetition_penalty_reward: one number for the whole completion, where the paper has one for each token.
    """
    from trl.rewards import get_repetition_penalty_reward

    if any(completion.tokens and not completion.token_ids for completion in batch.completions):
        raise ValueError("the repetition reward needs the token ids of the completions")
    punish = get_repetition_penalty_reward(config.repetition.ngram_tokens, config.repetition.max_penalty)
    return punish([list(completion.token_ids) for completion in batch.completions])


def language(batch: RewardBatch, config: RewardConfig) -> list[float]:
    """Share of the letters in the script asked for, 0 to 1: the light language reward that Open-RS leaves to others."""
    return [script_share(completion.text, config.language.script) for completion in batch.completions]


def tag_count(batch: RewardBatch, config: RewardConfig) -> list[float]:
    """Half a point for exactly one `<think>` line, half for exactly one `</think>` line (Open-R1's tag count).

    Open-R1 counts four tags for a quarter each; the two around the answer are left out, as Open-RS leaves them out, since
    the answer is boxed. Where the template opens `<think>`, a completion gets the half for it by closing it without opening
    it again: what the prompt holds is no merit of a text that has no tag at all.
    """
    opened = batch.opened if config.tag_count.opened_by_template is None else config.tag_count.opened_by_template
    return [_tags(completion.text, opened) for completion in batch.completions]


def _tags(text: str, opened: bool | None) -> float:
    openings, closed = text.count("<think>\n"), has_format(text)
    opened_once = openings == 1 if opened is False or openings else closed
    return 0.5 * (opened_once and not (opened is True and openings > 0)) + 0.5 * closed


# "Step 2:", a number that the text begins with, a bullet in a later line, a word of order: Open-R1's pattern has no flag for
# lines (https://github.com/huggingface/open-r1/blob/0056faa/src/open_r1/rewards.py), so ^ is the beginning of the text.
_STEP = re.compile(r"Step \d+:|^\d+\.|\n[-*]|First,|Second,|Next,|Finally,")


def reasoning_steps(batch: RewardBatch, config: RewardConfig) -> list[float]:
    """min(1, n / 3) for n signs of a step in the text, counted as Open-R1 does: steps, bulleted lines, words of order."""
    return [min(1.0, len(_STEP.findall(completion.text)) / 3) for completion in batch.completions]


Term = Callable[[RewardBatch, RewardConfig], list[float]]
REWARDS: dict[str, Term] = {
    "accuracy": accuracy,
    "format": format_,
    "cosine": cosine,
    "cosine_open_rs": cosine_open_rs,
    "efficient": efficient,
    "length_kimi": length_kimi,
    "soft_overlong": soft_overlong,
    "repetition": repetition,
    "language": language,
    "tag_count": tag_count,
    "reasoning_steps": reasoning_steps,
}
