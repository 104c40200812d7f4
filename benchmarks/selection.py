"""What a selection costs a step beside `fixed` where nothing is thrown away.

    python benchmarks/selection.py [--steps 20] [pass_rate schedule resample]

One run of the embedded model for each selection. In every step the batch is sampled and scored twice, by the selection and by `fixed` on
the problems that the selection draws, in turn the first; both sample the same completions, which is checked. The overhead is what
they differ by, against a step with `fixed`. All groups have a signal here: their reward counts places. Seconds are this process's own of
the CPU, since on a shared machine the clock tells of others; the graders' are not in it. Step 1 is warm-up.
"""

import argparse
import copy
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

WARM_UP = 1
PLACES = "def places(batch, config):\n    return [float(place) for place in range(len(batch.completions))]\n"
SETTINGS = (
    "+experiment=mix_easy_hard", "~evaluation.suites.chains", "~evaluation.suites.chains_long", "evaluation.validation.problems_per_level=1",
    "evaluation.validation.samples=1", "evaluation.validation.every_steps=100000", "record.checkpoint_every_steps=100000",
    "record.completions_every_steps=100000", "hardware.cpu_threads=1",
    "tracking=none",
)  # fmt: skip


@dataclass
class Step:
    """Seconds of one step's batch, and of all that comes after it."""

    chosen: float
    fixed: float
    rest: float = 0.0


@dataclass
class Pairs:
    """A trainer's batches, made by its selection and by `fixed`."""

    score: Callable  # the trainer's method
    steps: list[Step] = field(default_factory=list)
    ended: float = 0.0

    def both(self, trainer, inputs: list[dict]):
        if self.steps:
            self.steps[-1].rest = time.process_time() - self.ended
        numbers = peek(trainer)
        parts = [("chosen", lambda: self.score(trainer, inputs)), ("fixed", lambda: self._fixed(trainer, numbers))]
        took, outputs = {}, {}
        for name, make in parts if len(self.steps) % 2 else reversed(parts):
            began = time.process_time()
            outputs[name] = make()
            took[name] = time.process_time() - began
        chosen, fixed = (outputs[name]["completion_ids"] for name in ("chosen", "fixed"))
        assert chosen.equal(fixed), "other completions"
        self.steps.append(Step(**took))
        self.ended = time.process_time()
        return outputs["chosen"]

    def _fixed(self, trainer, numbers: list[int]):
        from src.training.selection.config import SelectionConfig
        from src.training.selection.selection import Selection

        kept, selection = trainer.harness, trainer.harness.selection
        as_mixed = Selection(SelectionConfig(), selection.candidates, selection.schedule, selection.seed)
        trainer.harness = replace(kept, selection=as_mixed)
        try:
            return self.score(trainer, [kept.rows[number] for number in numbers for _ in range(trainer.num_generations)])
        finally:
            trainer.harness = kept


def peek(trainer) -> list[int]:
    """The problems that the selection is about to draw."""
    selection = trainer.harness.selection
    state = copy.deepcopy(selection.state_dict())
    numbers = selection.draw(trainer.state.global_step, trainer.harness.prompts_at_once)
    selection.restore(state, 0)
    selection._step = -1
    return numbers


@contextmanager
def in_pairs():
    from src.training.trainer import LabTrainerMixin

    kept = LabTrainerMixin._generate_and_score_completions
    pairs = Pairs(kept)
    LabTrainerMixin._generate_and_score_completions = lambda trainer, inputs: pairs.both(trainer, inputs)
    try:
        yield pairs
    finally:
        LabTrainerMixin._generate_and_score_completions = kept


def measured(selection: str, steps: int, folder: Path) -> list[Step]:
    from src.experiment.run import run
    from src.run import configured

    (folder / "places.py").write_text(PLACES)
    term = f"++reward.terms.places={folder / 'places.py'}:places"
    with in_pairs() as pairs:
        run(configured(*SETTINGS, term, f"selection={selection}", f"scale.steps={steps + WARM_UP + 1}", f"output_root={folder}",
                       f"run_dir={folder / selection}"))  # fmt: skip
    return pairs.steps[WARM_UP:-1]  # of the last one the rest is the run's end


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("selections", nargs="*", default=["pass_rate", "schedule", "resample"])
    parser.add_argument("--steps", type=int, default=20)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        found = {selection: measured(selection, arguments.steps, Path(folder)) for selection in arguments.selections}
    for selection, steps in found.items():
        more = [100 * (step.chosen - step.fixed) / (step.fixed + step.rest) for step in steps]
        spread = statistics.stdev(more) / len(more) ** 0.5
        whole = statistics.fmean(step.fixed + step.rest for step in steps)
        print(f"{selection}: {statistics.fmean(more):+.2f} ± {spread:.2f} % of a step of {whole:.2f} s (median {statistics.median(more):+.2f} %, "
              f"{len(more)} steps)")  # fmt: skip


if __name__ == "__main__":
    main()
