"""What a run has used so far: wall-clock seconds by phase, tokens, operations and data. Every second is charged to one
phase."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from src.common.pace import PACE
from src.record.flops import PASSES, ParameterCount, flops

# startup: imports, data, models; training: log-probabilities, backward, optimiser; lost: repeated after a kill.
PHASES = ("startup", "rollout", "grading", "training", "evaluation", "saving", "lost")


class Ledger:
    """A clock that runs from its making on and charges each second to the innermost phase that is open."""

    def __init__(self) -> None:
        self.seconds = dict.fromkeys(PHASES, 0.0)
        self.prompt_tokens = 0
        self.completion_tokens = 0
        self.thrown_away = {"tokens": 0, "seconds": 0.0}  # of the completions, and of the rollout: sampled and not learnt from
        self.tokens_by_pass = dict.fromkeys(PASSES, 0)  # tokens through each kind of pass, padding not counted
        self.size: ParameterCount | None = None  # of the model that is trained, once it is known
        self._open = ["startup"]
        self._charged_until = time.perf_counter()

    def _charge(self) -> None:
        now = time.perf_counter()
        self.seconds[self._open[-1]] += now - self._charged_until
        self._charged_until = now

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Charge what happens inside to `name`, and not to the phase around it."""
        self._charge()
        self._open.append(name)
        PACE.advance()
        try:
            yield
        finally:
            self._charge()
            self._open.pop()
            PACE.advance()

    def read(self) -> dict[str, float]:
        """Seconds by phase up to now."""
        self._charge()
        return dict(self.seconds)

    def total(self) -> float:
        """Seconds in all, over every session of the run."""
        return sum(self.read().values())

    def throw_away(self, tokens: int, seconds: float) -> None:
        """Take note of completion tokens that are not learnt from, and of the seconds that sampling them took."""
        self.thrown_away["tokens"] += tokens
        self.thrown_away["seconds"] += seconds

    def flops(self) -> dict[str, float]:
        """Operations so far by kind of pass, and their total; 0 before there is a model."""
        return flops(self.size or ParameterCount(0, 0), self.tokens_by_pass)

    def state_dict(self) -> dict[str, Any]:
        return {
            "seconds": self.read(),
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "thrown_away": dict(self.thrown_away),
            "passes": dict(self.tokens_by_pass),
        }

    def continue_from(self, state: dict[str, Any], lost_seconds: float) -> None:
        """Add an earlier session's account; `lost_seconds` is what it did after its last checkpoint."""
        for phase, seconds in state["seconds"].items():
            self.seconds[phase] += seconds
        self.seconds["lost"] += lost_seconds
        self.prompt_tokens, self.completion_tokens = state["prompt_tokens"], state["completion_tokens"]
        self.thrown_away = dict(state.get("thrown_away", self.thrown_away))
        self.tokens_by_pass = dict(state["passes"])
