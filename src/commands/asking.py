"""`grpo-lab try <model> [question]` asks a model as an evaluation would; one of a run beside the base it came from.

Without a question, questions are read from the keyboard, one a line. Nothing is written.
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from omegaconf import OmegaConf
from rich.markup import escape
from rich.table import Table

from src.common.errors import INTERRUPTED
from src.common.screen import Screen
from src.common.secrets import only_known
from src.common.streams import protect
from src.common.types import Completion, Problem
from src.config.tree import LabConfig, parse
from src.experiment.measuring import run_of, transformers_engine, weights_of
from src.experiment.preparing import prepare_libraries
from src.hardware.config import check_device
from src.model.load import resolve
from src.record.record import read_config
from src.run import composed, end, spelled_out

if TYPE_CHECKING:
    from src.grading.grader import Grader


@dataclass(frozen=True)
class Question:
    text: str
    answer: str | None  # the right one, where it is known
    samples: int
    seed: int


class Asked:
    """A model that is asked, under the name that a person gave it."""

    def __init__(self, name: str, config: LabConfig) -> None:
        from src.model.load import load_model, load_tokenizer

        self.name, self.config = name, config
        self.tokenizer, model = load_tokenizer(config.model), load_model(config.model)
        self.engine = transformers_engine(config, model, self.tokenizer)

    def answers(self, question: Question, grader: "Grader") -> list[Completion]:
        """Samples under the evaluation's prompt and sampling, each with the grader's verdict."""
        from src.data.prompt import prompt_token_ids
        from src.grading.completions import graded

        evaluation, sampling = self.config.evaluation, self.config.evaluation.sampling
        prompt = prompt_token_ids(self.tokenizer, evaluation.asked_with(self.config.prompt), question.text)
        [sampled] = self.engine.generate(
            [prompt], question.samples, temperature=sampling.temperature, top_p=sampling.top_p, limit=sampling.max_completion_tokens,
            seed=question.seed, done=lambda number: None,
        )
        problem = Problem("asked", question.text, question.answer or "0", "hard", None, "asked")
        return graded([problem] * question.samples, sampled, self.tokenizer, self.engine.ends, grader, reader=evaluation.reader)


def configurations(model: str, base: str | None, settings: Sequence[str]) -> list[tuple[str, LabConfig]]:
    """What to ask, by name: the base where there is one, then the model. A run's keys are its own, but for `settings`; without a run
    they are those of a command line. Raises UserError."""
    if run := run_of(model):
        content: Any = OmegaConf.merge(OmegaConf.create(only_known(read_config(run))), OmegaConf.from_dotlist(list(settings)))
        content = OmegaConf.to_container(content, resolve=True)
    else:
        content = composed([spelled_out(setting, swept=False) for setting in settings])
    other: dict[str, Any] = {"init": "weights", "tokenizer": None, "revision": None} if run else {}  # than what the run began from
    asked = [(name, other | {"path": weights_of(name)}) for name in (base, model) if name]
    if run and not base:
        asked.insert(0, (content["model"]["path"], {}))
    return [(name, parse({**content, "model": content["model"] | changes})) for name, changes in asked]


def typed() -> Iterator[str]:
    """Questions from the keyboard, or from a file in its place, until it ends."""
    while True:
        try:
            line = input("question (Ctrl-D ends): " if sys.stdin.isatty() else "").strip()
        except EOFError:
            return
        if line:
            yield line


def side_by_side(models: Sequence[Asked], question: Question, grader: "Grader") -> Table:
    """A column for each model, a row for each sample: what it wrote, and what the grader reads in it."""
    table = Table(title=escape(question.text), title_justify="left", show_lines=True)
    for model in models:
        table.add_column(escape(model.name), overflow="fold", ratio=1)
    answers = [model.answers(question, grader) for model in models]
    for row in zip(*answers, strict=True):
        table.add_row(*(f"{escape(each.text.strip())}\n[bold]{escape(verdict(each, question.answer))}[/]" for each in row))
    return table


def verdict(completion: Completion, answer: str | None) -> str:
    found = f"read: {completion.verdict.found}" if completion.verdict.found else "no answer is read"
    right = "" if answer is None else ", right" if completion.verdict.correct else f", wrong ({completion.verdict.reason})"
    return f"{found}{right}; {completion.tokens} tokens{', cut off' if completion.truncated else ''}"


def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="grpo-lab try", description=__doc__.splitlines()[0])
    parser.add_argument("model", help="a run (its best weights), one of its checkpoints, a folder or a hub name")
    parser.add_argument("question", nargs="?", help="default: from the keyboard")
    parser.add_argument("--answer", help="the right one, for a verdict")
    parser.add_argument("--samples", type=int, default=1, metavar="N", help="answers of each model (default: 1)")
    parser.add_argument("--base", help="a model to stand beside it (default: what the run began from)")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="another key, as for a run; may be repeated")
    return parser


def main() -> None:
    protect()
    options = parser().parse_args()
    try:
        found = configurations(options.model, options.base, options.set)
        for _, config in found:
            resolve(config.model)
            check_device(config.hardware)
        first, screen = found[0][1], Screen()
        prepare_libraries(first)

        from src.grading.grader import Grader

        models = [Asked(name, config) for name, config in found]
        with Grader(1, rules=first.grading.rules) as grader:
            for number, text in enumerate([options.question] if options.question else typed()):
                question = Question(text, options.answer, max(1, options.samples), first.evaluation.seed + number)
                screen.console.print(side_by_side(models, question, grader))
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except Exception as error:  # noqa: BLE001 - whatever it is, a person gets one line
        end(error)


if __name__ == "__main__":
    main()
