"""How the embedded model answers before any reinforcement learning, by prompt and level.

`python -m src.micro.calibrate [--model DIR]` prints the table; `measure` gives the same figures to other code.
"""

import argparse
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any  # of transformers' models and tokenizers, whose own types do not know what they can do

from src.common.types import Problem
from src.micro import WEIGHTS
from src.micro.demonstrations import PROMPTS, messages_for
from src.micro.sizes import SIZES, Size
from src.micro.tasks import make_problems

TIGHT = 0.875  # of the budget: the limit of two of three experiments
BOXED = re.compile(r"\\boxed\{(-?\d+)\}")
CLOSED = re.compile(r"(?m)^</think>$")
OTHER_SCRIPT = re.compile(r"[\u4e00-\u9fff]")
COLUMNS = ("accuracy", "truncated", "format", "drift", "mean_tokens")


@dataclass(frozen=True, slots=True)
class Calibration:
    """Shares from 0 to 1 over sampled completions, at one limit on completion tokens."""

    prompt: str
    level: str
    limit: int  # completion tokens
    accuracy: float
    truncated: float
    format: float  # exactly one </think> on a line of its own
    drift: float  # some of it in another script
    mean_tokens: float


def sample_tokens(
    model: Any,
    tokenizer: Any,
    problems: Sequence[Problem],
    prompt: str,
    limit: int,
    batch: int = 256,
) -> list[list[int]]:
    """One completion for each problem at temperature 1, as token ids up to and including the end of turn."""
    import torch

    completions: list[list[int]] = []
    for start in range(0, len(problems), batch):
        texts = [
            tokenizer.apply_chat_template(messages_for(p.question, prompt), tokenize=False, add_generation_prompt=True)
            for p in problems[start : start + batch]
        ]
        inputs = tokenizer(texts, return_tensors="pt", padding=True, padding_side="left", add_special_tokens=False)
        inputs = inputs.to(model.device)
        with torch.inference_mode():
            ids = model.generate(
                input_ids=inputs.input_ids,
                attention_mask=inputs.attention_mask,
                do_sample=True,
                temperature=1.0,
                top_p=1.0,
                top_k=0,
                max_new_tokens=limit,
            )
        completions += [_until(row, tokenizer.eos_token_id) for row in ids[:, inputs.input_ids.shape[1] :].tolist()]
    return completions


def _until(ids: list[int], end: int) -> list[int]:
    return ids[: ids.index(end) + 1] if end in ids else ids


def summarise(
    tokenizer: Any,
    problems: Sequence[Problem],
    completions: list[list[int]],
    prompt: str,
    limit: int,
) -> Calibration:
    """The figures of a sample of completions of one level, as if sampled with `limit` completion tokens."""
    truncated = [ids[:limit][-1] != tokenizer.eos_token_id for ids in completions]
    texts = [tokenizer.decode(ids[:limit], skip_special_tokens=True) for ids in completions]
    found = [BOXED.findall(text) for text in texts]
    n = len(problems)
    return Calibration(
        prompt=prompt,
        level=problems[0].level,
        limit=limit,
        accuracy=sum(f[-1:] == [p.answer] for f, p in zip(found, problems, strict=True)) / n,
        truncated=sum(truncated) / n,
        format=sum(len(CLOSED.findall(text)) == 1 for text in texts) / n,
        drift=sum(bool(OTHER_SCRIPT.search(text)) for text in texts) / n,
        mean_tokens=sum(len(ids[:limit]) for ids in completions) / n,
    )


def measure(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[str] = PROMPTS,
    count: int = 400,
    seed: int = 0,
    limits: Sequence[int] | None = None,
    size: Size = SIZES["micro"],
) -> list[Calibration]:
    """Figures for each prompt, level and limit, over `count` problems of a level, one seeded sample each."""
    import torch

    model.eval()
    limits = limits or (round(TIGHT * size.completion_budget), size.completion_budget)
    pools = {role: make_problems(role, count, seed) for role in size.roles}
    rows = []
    for prompt in prompts:
        for problems in pools.values():
            torch.manual_seed(seed)
            completions = sample_tokens(model, tokenizer, problems, prompt, size.completion_budget)
            rows += [summarise(tokenizer, problems, completions, prompt, limit) for limit in limits]
    return rows


def markdown_table(rows: Sequence[Calibration]) -> str:
    """The figures as a Markdown table."""
    head = ["prompt", "level", "limit", *COLUMNS]
    lines = ["| " + " | ".join(head) + " |", "| " + " | ".join("---" for _ in head) + " |"]
    for row in rows:
        shares = [f"{100 * getattr(row, name):.1f} %" for name in COLUMNS[:-1]]
        lines.append(f"| {' | '.join([row.prompt, row.level, str(row.limit), *shares])} | {row.mean_tokens:.0f} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", type=Path, default=WEIGHTS, help="folder of the model (default: the shipped one)")
    parser.add_argument("--size", choices=SIZES, default="micro", help="whose task to calibrate on")
    parser.add_argument("--count", type=int, default=400, help="problems of a level")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(arguments.model)
    tokenizer = AutoTokenizer.from_pretrained(arguments.model)
    print(markdown_table(measure(model, tokenizer, count=arguments.count, seed=arguments.seed, size=SIZES[arguments.size])))


if __name__ == "__main__":
    main()
