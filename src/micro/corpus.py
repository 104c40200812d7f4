"""The pre-training corpus: generated demonstrations as batches of token ids, and the tokenizer trained on them."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from src.micro.demonstrations import PROMPTS, Style, draw_style, messages_for, write_completion, write_other
from src.micro.sizes import SIZES, Size
from src.micro.tasks import OTHER_TASKS, QUESTION, ROLES, draw_chain, in_suites
from src.micro.tokenizer import train_tokenizer

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerFast

TOKENIZER_SAMPLES = 2000  # demonstrations that the tokenizer is trained on
BATCHES_PER_POOL = 16  # demonstrations are sorted by length within a pool, so that batches need little padding
IGNORED = -100  # label of positions without loss
EASY_SHARE = 0.3  # of the demonstrations; long chains hold more arithmetic
CLEAN = Style(pace="brief", box=True, close=True, drifting=False)

Phase = Literal["clean", "mixed", "instruct"]  # the last: clean under every prompt, of the variants called instruct
Demonstration = tuple[list[dict[str, str]], str, bool]  # messages, completion, whether the completion comes to an end


@dataclass(frozen=True, slots=True)
class Source:
    """What demonstrations are of: the lengths of chains, the share of the other tasks, prompts and styles in use."""

    size: Size = SIZES["micro"]
    other_share: float = 0.0
    prompts: tuple[str, ...] = PROMPTS
    plain: bool = False  # as `demonstrations.draw_style` says


def draw_question(rng: random.Random, size: Size) -> str:
    """A question of either level; never one of the evaluation suites."""
    while True:
        lengths = size.easy_lengths if rng.random() < EASY_SHARE else size.hard_lengths
        question = QUESTION.format(chain=draw_chain(rng.choice(lengths), rng).text)
        if not in_suites(question):
            return question


def draw_demonstration(rng: random.Random, phase: Phase, source: Source) -> Demonstration:
    """One demonstration: brief and clean under the bare question or (instruct) any prompt, or in any style under any
    prompt; of one of the other tasks in a share of all."""
    if source.other_share and rng.random() < source.other_share:
        return draw_other(rng, phase, source)
    question = draw_question(rng, source.size)
    prompt, style = _draw_manner(rng, phase, source)
    return messages_for(question, prompt), write_completion(question, style, rng), style.pace != "rambling"


def _draw_manner(rng: random.Random, phase: Phase, source: Source) -> tuple[str, Style]:
    """The prompt, and the style of what answers it."""
    prompt = "none" if phase == "clean" else rng.choice(source.prompts)
    return prompt, draw_style(prompt, rng, source.plain) if phase == "mixed" else CLEAN


def draw_other(rng: random.Random, phase: Phase, source: Source = Source()) -> Demonstration:
    """One demonstration of copying or comparing, never of a question of the suites."""
    role = ROLES[rng.choice(OTHER_TASKS)]
    while in_suites((drawn := role.draw(rng.choice([n for level in role.lengths.values() for n in level]), rng))[0]):
        pass
    question, answer = drawn
    prompt, style = _draw_manner(rng, phase, source)
    return messages_for(question, prompt), write_other(question, answer, style, rng), True


def make_tokenizer(seed: int, source: Source = Source()) -> "PreTrainedTokenizerFast":
    """The tokenizer, trained on prompts and demonstrations of the full mix."""
    rng = random.Random(f"tokenizer/{seed}")
    texts = ["system\nuser\nassistant\n"]
    for _ in range(TOKENIZER_SAMPLES):
        messages, completion, _ = draw_demonstration(rng, "mixed", source)
        texts += [message["content"] for message in messages] + [completion]
    return train_tokenizer(texts)


def encode(
    tokenizer: "PreTrainedTokenizerFast", demonstrations: list[Demonstration], longest: int
) -> list[tuple[list[int], int]]:
    """Token ids of prompt and completion together, and the number of prompt tokens, for each demonstration."""
    prompts = [
        tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        for messages, _, _ in demonstrations
    ]
    prompt_ids = tokenizer(prompts, add_special_tokens=False).input_ids
    completion_ids = tokenizer([text for _, text, _ in demonstrations], add_special_tokens=False).input_ids
    encoded = []
    for prompt, completion, (_, _, ends) in zip(prompt_ids, completion_ids, demonstrations, strict=True):
        completion = (completion + [tokenizer.eos_token_id] * ends)[:longest]
        encoded.append((prompt + completion, len(prompt)))
    return encoded


def batches(
    tokenizer: "PreTrainedTokenizerFast", batch: int, rng: random.Random, clean_steps: int, source: Source,
    then: Phase = "mixed",
) -> Iterator[tuple["torch.Tensor", "torch.Tensor"]]:
    """Endless batches of input ids and labels, each (batch, tokens), right-padded; the first `clean_steps` clean, the
    others of the phase `then`."""
    import torch

    step = 0
    while True:
        phase = "clean" if step < clean_steps else then
        pool = [draw_demonstration(rng, phase, source) for _ in range(BATCHES_PER_POOL * batch)]
        encoded = sorted(encode(tokenizer, pool, source.size.demonstration_tokens), key=lambda item: len(item[0]))
        starts = list(range(0, len(encoded), batch))
        rng.shuffle(starts)
        for start in starts:
            rows = encoded[start : start + batch]
            longest = max(len(ids) for ids, _ in rows)
            inputs = torch.full((batch, longest), tokenizer.pad_token_id)
            labels = torch.full((batch, longest), IGNORED)
            for row, (ids, prompt_length) in enumerate(rows):
                inputs[row, : len(ids)] = torch.tensor(ids)
                labels[row, prompt_length : len(ids)] = inputs[row, prompt_length : len(ids)]
            step += 1
            yield inputs, labels
