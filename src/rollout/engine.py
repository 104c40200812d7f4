"""What samples completions, as the rest of the code sees it."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Protocol

from src.common.errors import RunFailed

TokenIds = list[int]


@contextmanager
def divergence_in_words() -> Iterator[None]:
    """Turn torch's complaint about sampling from weights that ran away into RunFailed."""
    try:
        yield
    except RuntimeError as error:
        if "probability tensor contains" not in str(error):
            raise
        raise RunFailed("the policy has diverged: its probabilities are not finite; lower lr.peak") from error


class Engine(Protocol):
    """Samples `samples` completions for each prompt: token ids per prompt and sample, the end token included.

    `done` is told how many completions came in since it was last told.
    """

    ends: frozenset[int]  # token ids that end a completion

    @property
    def identity(self) -> str:
        """The library and its version, the dtype, attention and kind of device: what decides numbers besides the weights."""
        ...

    def generate(
        self, prompts_P: Sequence[TokenIds], samples: int, *, temperature: float, top_p: float, limit: int, seed: int,
        done: Callable[[int], None],
    ) -> list[list[TokenIds]]: ...
