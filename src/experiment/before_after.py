"""Before and after: which weights are measured on which suites, and what of it goes into the summary."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from src.common.screen import Screen
from src.common.types import Suite
from src.evaluation.evaluator import Evaluator, Measured
from src.evaluation.summary import gain
from src.experiment.helpers import Helpers
from src.experiment.sharing import engine_of, helped, load
from src.model.load import fingerprint, resolve
from src.plan.out_of_memory import measuring_memory_in_words
from src.rollout.engine import Engine

if TYPE_CHECKING:
    from src.experiment.session import Session


class BeforeAfter:
    """Measures a session's policy: the base, on validation along the way, and the last and best weights at the end."""

    def __init__(self, session: "Session", evaluator: Evaluator, screen: Screen) -> None:
        self.session, self.evaluator, self.record, self.screen = session, evaluator, session.record, screen
        self.validation = session.data.validation
        self.helpers = Helpers(session, screen)
        self.suites = (self.validation, *session.data.suites)
        self.base: dict[str, Measured] = {}  # by suite
        self.results: dict[str, dict[str, Any]] = {suite.name: {} for suite in self.suites}

    def before(self) -> None:
        """Measure the weights that training starts from, on every suite."""
        model = self.session.config.model
        with helped(self.session):
            self._on_every_suite("before", resolve(model), model.revision)

    def validate(self, step: int) -> Measured:
        """Measure the weights as they are on the validation problems."""
        with helped(self.session):
            measured = self._measure(engine_of(self.session), self.validation, self._weights())
        self.record.table(f"evaluation/validation_step_{step:05d}", measured.rows)
        return measured

    def after(self) -> None:
        """Measure the last weights, then the best by validation, on every suite."""
        with helped(self.session):
            # In memory stand the last weights, but the base's if training had ended in an earlier session.
            self._at(self.session.progress.step, "after")
            if self.session.progress.best_step != self.session.progress.step:
                self._at(self.session.progress.best_step, "best")
        for results in self.results.values():
            results.setdefault("best", results["after"])

    def _at(self, step: int, when: str) -> None:
        checkpoint = self.session.checkpoints.check(step)
        load(self.session, checkpoint)
        self._on_every_suite(when, str(checkpoint))

    def _on_every_suite(self, when: str, folder: str, revision: str | None = None) -> None:
        """Of the policy's weights, which lie in a folder or on the hub."""
        weights = self._weights()
        with self.helpers.engine(folder, revision) as engine:
            for suite in self.suites:
                self.screen.note(f"measuring {suite.name} {when}: {len(suite.problems)} problems x {suite.samples} samples")
                with self.screen.counting(len(suite.problems) * suite.samples) as done:
                    measured = self._measure(engine, suite, weights, done, self.base.get(suite.name))
                self._keep(suite, when, measured)

    def _keep(self, suite: Suite, when: str, measured: Measured) -> None:
        self.record.table(f"evaluation/{suite.name}_{when}", measured.rows)
        self.results[suite.name][when] = dict(measured.summary)
        if when == "before":
            self.base[suite.name] = measured
        else:
            self.results[suite.name][when]["gain"] = gain(self.base[suite.name].rows, measured.rows)

    def _weights(self) -> str:
        with self.session.ledger.phase("evaluation"):
            return fingerprint(self.session.policy)

    def _measure(
        self, engine: Engine, suite: Suite, weights: str, done: Callable[[int], None] = lambda number: None,
        before: Measured | None = None,
    ) -> Measured:
        with self.session.ledger.phase("evaluation"), measuring_memory_in_words(self.session.config):
            return self.evaluator.measure(engine, weights, suite, done, before)
