"""What padding costs a training step: passes of 12 of 72 completions, padded to the longest of all 72, against passes as wide
as their own longest and sorted by length (algorithm.length_sorted), in turn, in one process.

    python benchmarks/passes.py [--rounds 2] [--steps 4]

The embedded model under `src.run`, with the loss of DAPO and the KL term, at a learning rate at which nothing moves: so both
sample and learn from the same completions in every step. Seconds are those of the training phase (log-probabilities,
forward, backward, optimiser), of this process's own CPU time and by the clock; on a shared machine only the former tells.
"""

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT))

from src.record.ledger import PHASES, Ledger

WARM_UP = 1
SETTINGS = (
    "+experiment=mix_easy_hard", "+trainer.loss_type=dapo", "hardware.device_batch_size=12", "lr=constant", "lr.peak=1e-12",
    "~evaluation.suites.chains", "~evaluation.suites.chains_long", "evaluation.validation.problems_per_level=1",
    "evaluation.validation.samples=1", "evaluation.validation.every_steps=100000", "record.checkpoint_every_steps=100000",
    "record.completions_every_steps=100000", "tracking=none",
)


class TwoClocks(Ledger):
    """Charges this process's CPU seconds to the phases too."""

    def __init__(self) -> None:
        self.cpu, self.cpu_until = dict.fromkeys(PHASES, 0.0), time.process_time()
        super().__init__()

    def _charge(self) -> None:
        now = time.process_time()
        self.cpu[self._open[-1]] += now - self.cpu_until
        self.cpu_until = now
        super()._charge()


def steps_of(length_sorted: bool, steps: int, folder: Path) -> list[dict[str, float]]:
    """CPU and wall seconds of the training phase of each step, warm-up left out, and its completions' mean tokens."""
    import src.experiment.run
    from src.run import configured

    ledgers, found = [], []

    def kept() -> TwoClocks:
        ledgers.append(TwoClocks())
        return ledgers[-1]

    def note(line, measured) -> None:
        before = sum(step["cpu"] for step in found)
        cpu = ledgers[-1].cpu["training"]
        found.append({"cpu": cpu - before, "wall": line["seconds/training"], "tokens": line["completion_tokens/mean"],
                      "loss": line["loss"]})

    src.experiment.run.Ledger, original = kept, src.experiment.run.Ledger
    try:
        src.experiment.run.run(configured(*SETTINGS, f"algorithm.length_sorted={str(length_sorted).lower()}", f"scale.steps={steps}",
                               f"output_root={folder.parent}", f"run_dir={folder}"), watches=[note])
    finally:
        src.experiment.run.Ledger = original
    return found[WARM_UP:]


def planned() -> float:
    """The same ratio by the plan."""
    from src.plan.plan import make_plan
    from src.run import configured

    narrow, padded = (
        make_plan(configured(*SETTINGS, f"algorithm.length_sorted={on}")).seconds["training"] for on in ("true", "false")
    )
    return narrow / padded


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--steps", type=int, default=4, help=f"of each run, {WARM_UP} of warm-up")
    arguments = parser.parse_args()
    print(f"planned: {planned():.3f}", flush=True)
    ratios = []
    with tempfile.TemporaryDirectory() as folder:
        for number in range(arguments.rounds):
            padded, narrow = (steps_of(on, arguments.steps, Path(folder) / f"{on}_{number}") for on in (False, True))
            if any(one["tokens"] != other["tokens"] for one, other in zip(padded, narrow, strict=True)):
                sys.exit("the two sampled other completions, so their times cannot be compared")
            cpu, wall = ([sum(step[clock] for step in steps) for steps in (narrow, padded)] for clock in ("cpu", "wall"))
            ratios.append(cpu[0] / cpu[1])
            print(f"round {number + 1}: {cpu[0] / len(narrow):.3f} against {cpu[1] / len(padded):.3f} CPU seconds a step, ratio "
                  f"{ratios[-1]:.3f}; by the clock {wall[0] / wall[1]:.3f}", flush=True)
    print(f"median ratio {statistics.median(ratios):.3f}")


if __name__ == "__main__":
    main()
