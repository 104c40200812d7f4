"""Training, and what happens after each of its steps."""

import math
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import pandas as pd
import torch
from transformers import TrainerCallback

from src.common.errors import RunFailed
from src.common.pace import PACE
from src.common.screen import Screen
from src.common.types import Stop
from src.experiment.session import Session
from src.experiment.sharing import is_shared, serve
from src.grading.completions import row
from src.hardware.processes import endings
from src.hardware.ranks import agree, is_first, world_size
from src.model.load import load_weights
from src.record.metrics import step_line
from src.training.reward import active
from src.training.stability import lower_learning_rate, restore_optimizer

if TYPE_CHECKING:
    from src.evaluation.evaluator import Measured

ACTIONS = {
    "stop": "training ends",
    "decay": "the learning rate is lowered",
    "rollback": "back to the best checkpoint, with a lower learning rate",
}
ONE_SIGNAL_S = 1.0  # a scheduler sends it to all processes, and the one that started this one hands it on besides
Validate = Callable[[int], "Measured"]  # measures the policy on the validation problems after a step
# Looks at each step's line of metrics, with the validation if the step had one, and may end the run.
Watch = Callable[[dict[str, Any], "Measured | None"], Stop | None]


def train(
    session: Session,
    validate: Validate | None,
    screen: Screen,
    log: Callable[[dict[str, Any]], None] | None,
    watches: Sequence[Watch] = (),
) -> Stop | None:
    """Train to the last step, from the newest checkpoint if there is one; None when the last step was done.

    `validate` and `log` are rank 0's; the other ranks give None.
    Raises RunFailed when a loss or gradient stops being a number; the last checkpoint is from before.
    """
    if session.progress.step == session.config.scale.steps or session.progress.ended:
        return None
    checkpoint = session.checkpoints.newest()
    with watch_signals(screen) as interrupted:
        after_step = AfterStep(session, validate, screen, log, [interrupted, *watches])
        session.trainer.add_callback(after_step)
        with session.ledger.phase("training"):
            session.trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    if world_size() > 1 and not (is_shared(session) and after_step.stop is None):
        torch.distributed.destroy_process_group()  # what is left to do is rank 0's
    return after_step.stop


@contextmanager
def watch_signals(screen: Screen):
    """A watch that ends the run after Ctrl-C, SIGTERM or SIGHUP; the second one stops it at once, as Python usually does.

    Only rank 0 heeds them; it decides for all.
    """
    if not is_first():
        yield lambda line, measured: None
        return
    received: list[Stop] = []
    first_at = 0.0

    def request(number: int, frame) -> None:
        nonlocal first_at
        if received and time.monotonic() - first_at > ONE_SIGNAL_S:
            signal.default_int_handler(number, frame)
        if not received:
            first_at = time.monotonic()
            received.append(Stop("interrupted", signal.Signals(number).name))
            screen.note("interrupted: finishing the step in hand, then saving (again to stop at once, without saving)")

    previous = {number: signal.signal(number, request) for number in endings()}
    try:
        yield lambda line, measured: received[0] if received else None
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


class AfterStep(TrainerCallback):
    """After each step: write its line, validate if it is due, ask the watches, and decide on saving and stopping.

    All of it in `on_log`, which comes after the optimiser's step, has the step's numbers, and comes before saving.
    """

    def __init__(self, session: Session, validate: Validate, screen: Screen, log, watches: Sequence[Watch]) -> None:
        self.session, self.validate, self.screen, self.log, self.watches = session, validate, screen, log, watches
        self.stop: Stop | None = None
        self.seconds = session.ledger.read()
        self.monitor = session.monitor() if is_first() else None

    def on_step_begin(self, args, state, control, optimizer=None, lr_scheduler=None, **_: Any) -> None:
        """Do what the monitor asked for, on every rank; after a checkpoint's optimiser, which a continued run has loaded."""
        session, asked = self.session, self.session.progress.pending
        if asked is None:
            return
        if asked == "rollback":
            best = session.checkpoints.check(session.progress.best_step)
            load_weights(session.policy, best)
            restore_optimizer(optimizer, best / "optimizer.pt")
        lower_learning_rate(optimizer, lr_scheduler, session.config.stability.decay_factor)
        session.progress.pending = None

    def on_substep_end(self, args, state, control, **_: Any) -> None:
        PACE.advance()

    def on_log(self, args, state, control, logs: dict[str, Any], **_: Any) -> None:
        if "loss" not in logs:  # the trainer's closing line
            return
        session, step = self.session, state.global_step
        for key in ("loss", "grad_norm"):
            if not math.isfinite(logs.get(key, math.nan)):
                raise RunFailed(f"the {key.replace('_', ' ')} is not finite at step {step}")
        session.progress.step = step
        if self._measures(step):
            session.trainer.gather_weights()
            if not is_first():
                serve(session)
        decided = self._note_and_decide(step, logs) if is_first() else None
        self.stop, control.should_training_stop, control.should_save, session.progress.pending = agree(decided)

    def _note_and_decide(self, step: int, logs: dict[str, Any]) -> tuple[Stop | None, bool, bool, str | None]:
        """Rank 0's part: what to record of the step, and then whether to stop, to end training, and to save, and what to do
        before the next one."""
        session, config = self.session, self.session.config
        line = step_line(
            step, logs, session.trainer.rollout, list(active(config.reward)), config.reward.language.script
        )
        last = step == config.scale.steps
        measured = None
        if self._measures(step):
            measured = self.validate(step)
            session.progress.validation[str(step)] = line["validation/accuracy"] = measured.summary["accuracy"]
        asked = self._ask_monitor(line)
        line |= self._account(step)
        session.record.step(line)
        if step % config.record.completions_every_steps == 0:
            self._save_completions(step)
        self.log(line)
        self.screen.step(line)
        while session.selection.notes:
            self.screen.warn(session.selection.notes.pop(0))
        return *self._decide(line, measured, last or asked == "stop"), None if asked == "stop" else asked

    def _measures(self, step: int) -> bool:
        config = self.session.config
        return step == config.scale.steps or config.batch.due(step, config.evaluation.validation.every_steps)

    def _decide(
        self, line: dict[str, Any], measured: "Measured | None", last: bool
    ) -> tuple[Stop | None, bool, bool]:
        config, step = self.session.config, line["step"]
        asked = [stop for watch in self.watches if (stop := watch(line, measured))]
        stopping = bool(asked) and not last and config.batch.ends_at(step)
        due = config.batch.due(step, config.record.checkpoint_every_steps)
        return asked[0] if stopping else None, last or stopping, bool(last or stopping or measured or due)

    def _ask_monitor(self, line: dict[str, Any]) -> str | None:
        """Say what the monitor has found, and return what it asks for."""
        session, step = self.session, line["step"]
        alarms = self.monitor.look(line)
        # Without a validation there is no best checkpoint yet to end at or to go back to. Completions in hand are used up
        # first: other weights than those that sampled them would learn from them. After the last step nothing is left to do.
        ready = session.progress.validation and session.config.batch.ends_at(step) and step < session.config.scale.steps
        asked = self.monitor.act(step) if ready else "none"
        for alarm in alarms:
            self.screen.warn(f"going wrong at step {step} ({alarm.signal}): {alarm}")
        if asked != "none":
            self.screen.note(f"on_collapse: {ACTIONS[asked]} after step {step}")
        session.progress.ended = asked == "stop"
        session.progress.stability = self.monitor.state_dict()
        if alarms:
            line["stability"] = [asdict(alarm) for alarm in alarms]
            session.record.save(stability=session.progress.stability)
        return None if asked == "none" else asked

    def _account(self, step: int) -> dict[str, Any]:
        session, ledger, before = self.session, self.session.ledger, self.seconds
        self.seconds = ledger.read()
        total = sum(self.seconds.values())
        return {
            "prompt_tokens": ledger.prompt_tokens,
            "completion_tokens": ledger.completion_tokens,
            "optimiser_steps": step,
            **session.selection.used(),
            **session.selection.take_figures(),
            "parameters": ledger.size.parameters,
            "parameters/without_embeddings": ledger.size.without_embeddings,
            **{f"flops/{kind}": number for kind, number in ledger.flops().items()},
            "grading_timeouts": session.trainer.timeouts,
            **{f"seconds/{phase}": self.seconds[phase] - before[phase] for phase in self.seconds},
            "seconds/total": total,
            "cost_usd": session.config.hardware.cost_usd(total),
        }

    def _save_completions(self, step: int) -> None:
        rollout, config = self.session.trainer.rollout, self.session.config
        terms = [f"reward/{term}" for term in active(config.reward)]
        rows = [
            {"step": step} | row(problem, completion, config.reward.language.script) | dict(zip(terms, rewards, strict=True))
            for problem, completion, rewards in zip(
                rollout.problems, rollout.completions, rollout.rewards_BR, strict=True
            )
        ]
        self.session.record.table(f"completions/step_{step:05d}", pd.DataFrame(rows))
