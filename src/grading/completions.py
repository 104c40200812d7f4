"""Sampled token ids become graded completions, and completions become rows of a table; in training and evaluation."""

from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

from src.common.types import Completion, Problem
from src.grading.code import grade_programs
from src.grading.looks import has_format, script_share

if TYPE_CHECKING:
    from src.grading.grader import Grader


def end_tokens(tokenizer, generation_config) -> frozenset[int]:
    """Token ids that end a completion: the tokenizer's and all that the model's generation config names."""
    named = generation_config.eos_token_id
    named = [] if named is None else named if isinstance(named, list) else [named]
    return frozenset({tokenizer.eos_token_id, *named})


def opens_thinking(tokenizer) -> bool:
    """Whether the chat template ends the prompt with `<think>`, as those of R1 models do."""
    probe = [{"role": "user", "content": "?"}]
    return tokenizer.apply_chat_template(probe, tokenize=False, add_generation_prompt=True).rstrip().endswith("<think>")


def graded(
    problems: Sequence[Problem], token_ids: Sequence[Sequence[int]], tokenizer, ends: Collection[int], grader: "Grader",
    grading: str = "math", reader: str = "boxed",
) -> list[Completion]:
    """One completion for each problem: decoded, graded, and `truncated` if it has no end token."""
    texts = tokenizer.batch_decode(token_ids, skip_special_tokens=True)
    if grading == "code":
        verdicts = grade_programs(texts, problems, grader.workers)
    else:
        verdicts = grader.grade(texts, [problem.answer for problem in problems], reader)
    return [
        Completion(text, len(ids), not ids or ids[-1] not in ends, verdict, tuple(ids))
        for text, ids, verdict in zip(texts, token_ids, verdicts, strict=True)
    ]


def row(problem: Problem, completion: Completion, script: str) -> dict[str, Any]:
    """A table's row: `format` 0 or 1, `language` the share of letters in `script`, `reason` that for the verdict."""
    return {
        "problem_id": problem.id,
        "level": problem.level,
        "correct": completion.verdict.correct,
        "tokens": completion.tokens,
        "truncated": completion.truncated,
        "format": has_format(completion.text),
        "language": script_share(completion.text, script),
        "answer": completion.verdict.found,
        "reason": completion.verdict.reason,
        "text": completion.text,
    }
