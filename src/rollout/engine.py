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


def limit_after(prompt: TokenIds, limit: int, room: int) -> int:
    """Tokens that a completion of a prompt may have: `limit`, or what a context of `room` tokens leaves after the prompt. One that
    has fewer than `limit` and no end was cut by the context. Raises RunFailed where it leaves nothing."""
    if len(prompt) >= room:
        raise RunFailed(
            f"a prompt has {len(prompt)} tokens, and the engine reads {room}; raise trainer.vllm_max_model_length, or leave it out"
        )
    return min(limit, room - len(prompt))


def dealt_back(parts: Sequence[Sequence]) -> list:
    """What was dealt out one by one to several, each of which has done its part in order, in the order of before."""
    return [part[place] for place in range(len(parts[0])) for part in parts if place < len(part)]


class Engine(Protocol):
    """Samples `samples` completions for each prompt: token ids per prompt and sample, the end token included, each with at most
    `limit_after(prompt, limit, room)` tokens.

    `done` is told how many completions came in since it was last told.
    """

    ends: frozenset[int]  # token ids that end a completion

    @property
    def room(self) -> int:
        """Tokens of prompt and completion together, at most."""
        ...

    @property
    def identity(self) -> str:
        """The library and its version, the dtype, attention and kind of device: what decides numbers besides the weights."""
        ...

    def generate(
        self, prompts_P: Sequence[TokenIds], samples: int, *, temperature: float, top_p: float, limit: int, seed: int,
        done: Callable[[int], None],
    ) -> list[list[TokenIds]]: ...


class InFront:
    """Goes in front of an engine, and is known by it."""

    def __init__(self, own: Engine) -> None:
        self.own, self.ends = own, own.ends

    @property
    def identity(self) -> str:
        return self.own.identity

    @property
    def room(self) -> int:
        return self.own.room
