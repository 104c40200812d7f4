"""Measuring on all training processes: where samples are drawn by number, each process draws a part, and rank 0 has them all.

Rank 0 decides what is measured, and the others do meanwhile what it asks of them (`serve`). A sample by number is the same
whichever process draws it.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from src.hardware.ranks import agree, gather, rank, world_size
from src.model.load import load_weights
from src.rollout.engine import Engine, InFront, TokenIds, dealt_back

if TYPE_CHECKING:
    from src.experiment.session import Session

Task = tuple[list[TokenIds], int, dict[str, Any]]  # prompts, samples of each, and how


def is_shared(session: "Session") -> bool:
    return world_size() > 1 and session.config.measured_by_all


def engine_of(session: "Session") -> Engine:
    """What samples from the policy as it is now; rank 0 has the others take part."""
    return Shared(_own_engine(session)) if is_shared(session) else _own_engine(session)


def _own_engine(session: "Session") -> Engine:
    evaluation = session.config.evaluation
    return session.config.rollout.engine_for(session.trainer, evaluation.sampling.batch_size, evaluation.in_rounds)


class Shared(InFront):
    """An engine of rank 0's whose samples all processes draw, while the others are in `serve`."""

    def generate(
        self, prompts_P: Sequence[TokenIds], samples: int, *, done: Callable[[int], None] = lambda number: None, **how: Any
    ) -> list[list[TokenIds]]:
        task: Task = list(prompts_P), samples, how
        agree(task)
        return _sampled(self.own, task, done)


def _sampled(engine: Engine, task: Task, done: Callable[[int], None]) -> list[list[TokenIds]]:
    """A task's samples, each process having drawn those of every n-th prompt of n processes."""
    prompts_P, samples, how = task
    return dealt_back(gather([engine.generate(prompts_P[rank() :: world_size()], samples, **how, done=done)]))


@contextmanager
def helped(session: "Session") -> Iterator[None]:
    """Where rank 0 measures; the others come out of `serve` at its end."""
    yield
    if is_shared(session):
        agree(None)


def load(session: "Session", checkpoint: Path) -> None:
    """Put a checkpoint's weights into the policy, on every process that measures."""
    if is_shared(session):
        agree(checkpoint)
    load_weights(session.policy, checkpoint)


def serve(session: "Session") -> None:
    """Of the ranks other than 0: do what rank 0 asks for as long as it measures."""
    if not is_shared(session):
        return
    own = _own_engine(session)
    while (task := agree(None)) is not None:
        if isinstance(task, Path):
            load_weights(session.policy, task)
        else:
            _sampled(own, task, lambda number: None)
