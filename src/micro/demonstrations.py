"""Demonstrations to pre-train the embedded model on: worked chains in mixed styles, good and bad.

The base model must have something to gain from reinforcement learning: its demonstrations are brief, careless,
checking or endless, some lack the format and some drift into another script, each in a share that depends on the
prompt. To add a style, write a function like `_brief`, name it in PACES and give it a share in SHARES.
"""

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache

from src.common.files import of_project
from src.common.types import Problem
from src.micro.tasks import MAX_VALUE, Chain, Operations, apply, parse_chain

PROMPT_FOLDER = of_project("conf") / "prompt"
PROMPTS = ("none", "boxed", "think_boxed", "think_boxed_english", "reason_boxed")
MAX_RAMBLING_LINES = 40  # far beyond any completion budget of the embedded lab
SLIP_PER_CARELESS_STEP = 0.28
SLIP_PER_CHECKED_STEP = 0.06  # found and put right by the check

MUSINGS = ("Hmm, let me think.", "Wait, is that right?", "I am not sure yet.", "Let me see it again.")
OTHER_SCRIPT = {  # what a drifting line says instead; whole sentences come before the words they contain
    **dict(zip(MUSINGS, ("让我想想。", "等等，对吗？", "还不确定。", "再看一次。"), strict=True)),
    "The answer is": "答案是",
    "Maybe": "也许",
    "Check": "再检查一下",
    " ok": " 对",
    " no": " 不对",
}
DRIFT_OPENING = "然后"  # puts another script into a line that has no words


@dataclass(frozen=True, slots=True)
class Shares:
    """How often each way of answering occurs under a prompt, 0 to 1; the four paces add up to 1."""

    brief: float
    careless: float
    checking: float
    rambling: float
    no_box: float
    no_close: float
    drifting: float


BASE = Shares(brief=0.12, careless=0.50, checking=0.26, rambling=0.12, no_box=0.08, no_close=0.15, drifting=0.35)
SHARES = {
    "none": replace(BASE, no_box=0.35, no_close=0.20),
    "boxed": replace(BASE, brief=0.17, checking=0.21, no_box=0.05, no_close=0.25),
    "think_boxed": BASE,
    "think_boxed_english": replace(BASE, drifting=0.03),
    "reason_boxed": replace(BASE, brief=0.08, checking=0.30, no_close=0.20),
}


@dataclass(frozen=True, slots=True)
class Style:
    """How one demonstration answers."""

    pace: str  # one of PACES
    box: bool  # puts the answer into \\boxed{}
    close: bool  # ends its reasoning with </think>
    drifting: bool  # its first line and about half of the others are in another script


def draw_style(prompt: str, rng: random.Random, plain: bool = False) -> Style:
    """A style by the prompt's shares; `plain` ones neither check nor drift, which a small model learns in fewer steps."""
    shares = SHARES[prompt]
    if plain:
        shares = replace(shares, brief=shares.brief + shares.checking, checking=0.0, drifting=0.0)
    pace = rng.choices(list(PACES), [getattr(shares, name) for name in PACES])[0]
    box, close = rng.random() >= shares.no_box, rng.random() >= shares.no_close
    return Style(pace, box, close, drifting=rng.random() < shares.drifting)


@cache
def prompt_texts(prompt: str) -> tuple[str | None, str]:
    """System message (or None) and user template of a prompt; "none" is the bare question."""
    from omegaconf import OmegaConf

    if prompt == "none":
        return None, "{question}"
    config = OmegaConf.load(PROMPT_FOLDER / f"{prompt}.yaml")
    return config.system, config.user


def messages_for(question: str, prompt: str) -> list[dict[str, str]]:
    """The chat messages that put a question to the model under a prompt."""
    system, user = prompt_texts(prompt)
    turns = [{"role": "system", "content": system}] if system else []
    return [*turns, {"role": "user", "content": user.replace("{question}", question)}]


def demonstration(problem: Problem, prompt: str, rng: random.Random) -> tuple[list[dict[str, str]], str]:
    """Messages and one demonstrated completion, in a style drawn from the prompt's shares."""
    return messages_for(problem.question, prompt), write_completion(problem.question, draw_style(prompt, rng), rng)


def write_completion(question: str, style: Style, rng: random.Random) -> str:
    """What follows the opening <think> of the chat template, in a given style."""
    lines, value = PACES[style.pace](parse_chain(question), rng)
    if style.pace == "rambling":  # never comes to an end
        return "\n".join(_drifted(lines, style, rng))
    answer = f"The answer is \\boxed{{{value}}}" if style.box else f"The answer is {value}"
    *lines, answer = _drifted([*lines, answer], style, rng)
    closing = ["</think>"] if style.close else []
    return "\n".join([*lines, *closing, answer])


def write_other(question: str, answer: str, style: Style, rng: random.Random) -> str:
    """The same for copying and comparing: one line of work, in which a careless answer goes wrong as a chain's does."""
    if style.pace == "careless" and rng.random() < SLIP_PER_CARELESS_STEP:
        numbers = [word.strip("?") for word in question.split() if word.strip("?").isdigit()]
        others = [number for number in numbers if number != answer]
        # Of a comparison the smaller number; of digits to copy all but the last one.
        answer = others[0] if len(numbers) == 2 else answer[:-1]
    opening = "Maybe " if style.pace == "careless" else ""
    work = f"{opening}{' '.join(answer)}"
    final = f"The answer is \\boxed{{{answer}}}" if style.box else f"The answer is {answer}"
    work, final = _drifted([work, final], style, rng)
    return "\n".join([work, *(["</think>"] if style.close else []), final])


def _drifted(lines: list[str], style: Style, rng: random.Random) -> list[str]:
    """The lines of a drifting completion: the first one and about half of the others in another script."""
    if not style.drifting:
        return lines
    return [_translated(line) if index == 0 or rng.random() < 0.5 else line for index, line in enumerate(lines)]


def _translated(line: str) -> str:
    translated = line
    for words, other in OTHER_SCRIPT.items():
        translated = translated.replace(words, other)
    return translated if translated != line else f"{DRIFT_OPENING} {line}"


def _equation(value: int, operator: str, operand: int, result: int) -> str:
    return f"{value}{operator}{operand}={result}"


def _slipped(result: int, rest: Operations, rng: random.Random) -> int:
    """A wrong result near the right one, from which the rest of the chain stays in range (or none, then `result`)."""
    wrong = [result + distance for distance in (-10, -2, -1, 1, 2, 10)]
    return rng.choice([value for value in wrong if _in_range(value, rest)] or [result])


def _in_range(value: int, operations: Operations) -> bool:
    values = [value]
    for operator, operand in operations:
        values.append(apply(values[-1], operator, operand))
    return all(0 <= value <= MAX_VALUE for value in values)


def _brief(chain: Chain, rng: random.Random) -> tuple[list[str], int]:
    return _worked(chain, "", 0.0, rng)


def _careless(chain: Chain, rng: random.Random) -> tuple[list[str], int]:
    return _worked(chain, "Maybe ", SLIP_PER_CARELESS_STEP, rng)


def _worked(chain: Chain, opening: str, slip: float, rng: random.Random) -> tuple[list[str], int]:
    lines, value = [], chain.start
    for index, (operator, operand) in enumerate(chain.operations):
        result = apply(value, operator, operand)
        result = _slipped(result, chain.operations[index + 1 :], rng) if rng.random() < slip else result
        lines.append(opening + _equation(value, operator, operand, result))
        value = result
    return lines, value


def _checking(chain: Chain, rng: random.Random) -> tuple[list[str], int]:
    """Each step is undone to check it; a slip is found that way and put right."""
    lines, value = [], chain.start
    for operator, operand in chain.operations:
        result = apply(value, operator, operand)
        if operator != "×" and rng.random() < SLIP_PER_CHECKED_STEP:
            lines.append(_check(value, operator, operand, _slipped(result, (), rng)) + " no")
        lines.append(_check(value, operator, operand, result) + " ok")
        value = result
    return lines, value


def _check(value: int, operator: str, operand: int, result: int) -> str:
    if operator == "×":
        inverse = _equation(result, "/", operand, value)
    else:
        undo, back = ("-", result - operand) if operator == "+" else ("+", result + operand)
        inverse = _equation(result, undo, operand, back)
    return f"{_equation(value, operator, operand, result)} Check {inverse}"


def _rambling(chain: Chain, rng: random.Random) -> tuple[list[str], int]:
    """Goes through the chain again and again."""
    worked, value = _worked(chain, "", 0.0, rng)
    lines = [f"{rng.choice(MUSINGS)} {worked[index % len(worked)]}" for index in range(MAX_RAMBLING_LINES)]
    return lines, value


PACES: dict[str, Callable[[Chain, random.Random], tuple[list[str], int]]] = {
    "brief": _brief,
    "careless": _careless,
    "checking": _checking,
    "rambling": _rambling,
}
