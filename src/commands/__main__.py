"""The command `grpo-lab`: the words that it takes, each with what it does and an example; without one it shows them.

Each word is a module that runs by itself as well, `grpo-lab run …` being `python -m src.run …`; to add one, add it to COMMANDS.
"""

import importlib
import os
import runpy
import sys
from dataclasses import dataclass

from src.common.errors import BAD_INPUT, nearest
from src.common.streams import protect


@dataclass(frozen=True, slots=True)
class Command:
    module: str
    does: str
    example: str
    given: tuple[str, ...] = ()  # arguments that go before those on the command line


COMMANDS = {
    "run": Command("src.run", "train, and measure before and after", "experiment=mix_easy_hard"),
    "sweep": Command("src.run", "many runs of one question, on Optuna", "sweep=mix_length", ("-m",)),
    "report": Command("src.report", "runs and sweeps on one page, report/index.html", "outputs"),
    "evaluate": Command("src.evaluate", "measure models without training", "embedded/micro outputs/mix_easy_hard/<run>"),
    "try": Command("src.commands.asking", "ask a model a question of your own, before and after", "outputs/mix_easy_hard/<run> 'Work out 3+4-2'"),
    "runs": Command("src.commands.runs", "list, sort, filter, show, compare and remove runs", "--sort gain --where status=complete"),
    "export": Command("src.commands.export", "a run's best weights as a plain folder, with a card", "outputs/mix_easy_hard/<run> my-model"),
    "curate": Command("src.curate", "from raw problems to the pools of a run", "micro"),
    "scaling": Command("src.scaling", "fit scaling laws to a sweep", "outputs/sweeps/scaling"),
    "doctor": Command("src.commands.doctor", "what of this can run here, and what is missing", ""),
}

COMPLETED = ("run", "sweep", "evaluate")  # those that take the keys of a run


def page() -> str:
    """The help page."""
    lines = ["grpo-lab: what works in reinforcement learning for small reasoning models, and what it costs.", ""]
    for word, command in COMMANDS.items():
        lines += [f"  {word:<10}{command.does}", f"  {'':<12}grpo-lab {word} {command.example}".rstrip()]
    return "\n".join([
        *lines, "",
        "grpo-lab <word> --help says more; grpo-lab run --cfg job shows every key of a run with its value; plan=true prices a run",
        'or a sweep first; eval "$(grpo-lab -sc install=bash)" completes words, groups, options and keys (zsh too; fish: install=fish).',
        "Your own things: model.path=<hub name or folder>, problems=my_data problems.path=<file>, scale=auto.",
    ])  # fmt: skip


def complete(kind: str) -> None:
    """Tab completion, as shells ask for it: this command's own words, then what Hydra knows of the groups, options and keys of a
    run. `kind` is install=<shell> or query=<shell>; `eval "$(grpo-lab -sc install=bash)"` turns it on."""
    if kind.startswith("query="):
        line = os.environ.get("COMP_LINE", "")
        _, word, *others = [*line[: int(os.environ.get("COMP_POINT", len(line)))].split(" "), ""]
        if not others[1:]:
            print("\n".join(known for known in COMMANDS if known.startswith(word)))
            return
        if word not in COMPLETED:
            return  # the shell offers files
        os.environ["COMP_LINE"] = line = " ".join(["grpo-lab", *others[:-1]])
        os.environ["COMP_POINT"] = str(len(line))
    sys.argv = ["grpo-lab", "-sc", kind]
    importlib.import_module("src.run").main()


def main() -> None:
    protect()
    word, *arguments = sys.argv[1:] or ["--help"]
    if word in ("-h", "--help", "help"):
        print(page())
    elif word in ("-sc", "--shell-completion") and arguments:
        complete(arguments[0])
    elif command := COMMANDS.get(word):
        sys.argv = [f"grpo-lab {word}", *command.given, *arguments]
        runpy.run_module(command.module, run_name="__main__", alter_sys=True)
    else:
        print(f"error: no command {word}; {nearest(word, COMMANDS)}", file=sys.stderr)
        sys.exit(BAD_INPUT)


if __name__ == "__main__":
    main()
