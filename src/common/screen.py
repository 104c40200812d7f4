"""What a person sees: the plan before, a progress line during, a verdict after. Plain lines without a terminal."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from src.common.secrets import redacted
from src.common.streams import Unfailing

LEAST_TOLD = 0.0005  # of a share, that is said beside a table: 0.1 points
PLAIN_LINES_PER_RUN = 12  # without a terminal: that many step lines, plus the validations


def percent(value: float) -> str:
    return f"{100 * value:.1f}"


def with_interval(figures: Mapping[str, Any], key: str) -> str:
    """`61.5 [55.2, 67.9]`: a share in percent with its 95 % interval."""
    return f"{percent(figures[key])} [{percent(figures['ci_low'])}, {percent(figures['ci_high'])}]"


def duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def count(number: int, thing: str) -> str:
    """`1 run`, `2 runs`."""
    return f"{number} {thing}{'' if number == 1 else 's'}"


class Screen:
    def __init__(self, quiet: bool = False) -> None:
        stream: Any = Unfailing("stdout")
        width = None if stream.isatty() else 150  # a log file has room
        self.console = Console(file=stream, highlight=False, soft_wrap=True, width=width, quiet=quiet)
        self.progress: Progress | None = None
        self.warned: set[str] = set()

    def note(self, text: str) -> None:
        self.console.print(redacted(text), markup=False)

    def warn(self, text: str) -> None:
        """Show a warning, once a run for each cause (its first words up to the colon)."""
        cause = text.partition(":")[0]
        if cause not in self.warned:
            self.warned.add(cause)
            self.console.print(f"[bold yellow]warning[/]: {escape(redacted(text))}")

    def announce(self, facts: Mapping[str, str]) -> None:
        """What will run, before it starts."""
        width = max(map(len, facts))
        for name, value in facts.items():
            self.console.print(f"  {name:<{width}}  {redacted(value)}", markup=False)

    @contextmanager
    def counting(self, total: int | None, what: str = "sampling") -> Iterator[Callable[[int], None]]:
        """Show how many of `total` (the completions of a measurement, rows) have come in; gives what to tell of new ones.

        Without a total only the count is shown.
        """
        columns = (TextColumn(f"  {what}", markup=False), BarColumn(20), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=self.console, transient=True, disable=not self.console.is_terminal) as progress:
            task = progress.add_task(what, total=total)
            yield lambda number: progress.advance(task, number)

    def start(self, steps: int, done: int) -> None:
        """Begin the progress line of training."""
        self.steps = steps
        if not self.console.is_terminal:
            return
        columns = (BarColumn(16), MofNCompleteColumn(), TextColumn("{task.fields[figures]}"), TimeRemainingColumn())
        self.progress = Progress(*columns, console=self.console)
        self.task = self.progress.add_task("training", total=steps, completed=done, figures="")
        self.progress.start()

    def step(self, line: Mapping[str, Any]) -> None:
        """Show one step's figures; warn of what makes a run worthless."""
        figures = (
            f"reward {line['reward/mean']:.2f}  accuracy {100 * line['accuracy']:.0f} %  "
            f"{line['completion_tokens/mean']:.0f} tokens  truncated {100 * line['truncated_share']:.0f} %"
            if line["reward/mean"] is not None else "second update on the same completions"
        )
        if "validation/accuracy" in line:
            self.note(f"step {line['step']}: validation accuracy {percent(line['validation/accuracy'])} %")
        if self.progress:
            self.progress.update(self.task, completed=line["step"], figures=figures)
        elif line["step"] % max(1, self.steps // PLAIN_LINES_PER_RUN) == 0:
            self.note(f"step {line['step']}/{self.steps}  {figures}")
        self._warn_of(line)

    def _warn_of(self, line: Mapping[str, Any]) -> None:
        at = f"at step {line['step']}"
        if (line["truncated_share"] or 0) > 0.5:
            self.warn(
                f"most completions are truncated: {percent(line['truncated_share'])} % reach the limit of "
                f"{line['length_limit']} tokens {at}; raise length.fraction or scale.completion_budget"
            )
        if line["groups_without_signal"] == 1:
            self.warn(f"all rewards are equal: no group has a signal to learn from {at}; check reward, mix and prompt")
        if line["format_share"] == 0:
            self.warn(f"the format is never met: no completion has it {at}; check prompt and chat template")

        if (line.get("effective_sample_share") or 1) < 0.5:
            self.warn(
                f"few samples count: importance ratios between vLLM and the trainer leave {percent(line['effective_sample_share'])} % of "
                f"them {at}; set trainer.vllm_importance_sampling_mode=token_truncate"
            )

    def stop(self) -> None:
        if self.progress:
            self.progress.stop()
            self.progress = None

    def verdict(self, evaluation: Mapping[str, Any]) -> None:
        """The table before and after, accuracies in percent with 95 % intervals."""
        table = Table(title="accuracy in %, with 95 % intervals over problems; gains paired by problem")
        for column in ("suite", "level", "problems x samples", "before", "after", "gain", "tokens", "truncated %"):
            table.add_column(column, no_wrap=column in ("suite", "level", "tokens"))
        for suite, results in evaluation.items():
            before, after = results["before"], results["after"]
            rows = [("all", before, after)]
            if len(before["by_level"]) > 1:
                rows += [(level, before["by_level"][level], after["by_level"][level]) for level in before["by_level"]]
            for level, old, new in rows:
                gain = with_interval(after["gain"], "mean") if level == "all" else percent(new["accuracy"] - old["accuracy"])
                table.add_row(
                    escape(suite) if level == "all" else "", level, f"{old['problems']} x {old['samples']}",
                    with_interval(old, "accuracy"), with_interval(new, "accuracy"), gain,
                    f"{old['mean_tokens']:.0f} → {new['mean_tokens']:.0f}",
                    f"{percent(old['truncated_share'])} → {percent(new['truncated_share'])}",
                )
        self.console.print(table)
        for suite, results in evaluation.items():
            if abs(boxing := results["after"]["gain"].get("boxing", 0.0)) >= LEAST_TOLD:
                self.note(f"{suite}: {percent(boxing)} points of the change are right answers that had no box before, or have none now")
