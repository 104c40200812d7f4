"""What looks at each step of a run: its budget, and where it is really heading once its first steps have been measured."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from src.common.screen import Screen, duration

if TYPE_CHECKING:
    from src.common.types import Stop
    from src.config.tree import LabConfig
    from src.plan.plan import Plan
    from src.record.record import Record

HEADING_STEPS = 10  # after which the first forecast from measurements is made
WARM_UP_STEPS = 1  # left out of it
STEP_PHASES = ("rollout", "grading", "training", "saving")


class BudgetWatch:
    """Ends a run before the step that would go beyond its budget."""

    def __init__(self, config: "LabConfig") -> None:
        self.limits, self.cost_usd = config.budget, config.hardware.cost_usd
        self.steps_to_stop = config.batch.generation_every_steps  # a run can only be continued from the end of a batch

    def __call__(self, line: Mapping[str, Any], measured: Any) -> "Stop | None":
        step = sum(line[f"seconds/{phase}"] for phase in STEP_PHASES)
        return self.after(line["seconds/total"], self.steps_to_stop * step)

    def after(self, seconds: float, next_seconds: float = 0.0) -> "Stop | None":
        """The stop, if `next_seconds` more than `seconds` are not left."""
        from src.common.types import Stop

        then = seconds + next_seconds
        limit = self.limits.reached(then / 3600, self.cost_usd(then))
        return Stop("out_of_budget", f"{limit} has no room for another step") if limit else None


class Heading:
    """A watch that never stops: after ten steps it says, and records, what the run will really take."""

    def __init__(self, config: "LabConfig", plan: "Plan | None", record: "Record", screen: Screen) -> None:
        self.config, self.plan, self.record, self.screen = config, plan, record, screen
        self.seconds: list[float] = []  # of each step of this session

    def __call__(self, line: Mapping[str, Any], measured: Any) -> None:
        self.seconds.append(sum(line[f"seconds/{phase}"] for phase in STEP_PHASES))
        if len(self.seconds) != HEADING_STEPS:
            return
        steady = self.seconds[WARM_UP_STEPS:]
        per_step = sum(steady) / len(steady)
        left = (self.config.scale.steps - line["step"]) * per_step
        evaluation = max(0.0, self.plan.seconds["evaluation"] - line["seconds/evaluation"]) if self.plan else 0.0
        total = line["seconds/total"] + left + evaluation
        self._say(per_step, total, line)

    def _say(self, per_step: float, total: float, line: Mapping[str, Any]) -> None:
        usd = self.config.hardware.cost_usd
        heading = f"heading for {duration(total)} in all, ${usd(total):.2f}, at {per_step:.1f} s a step"
        planned = ""
        if self.plan:
            whole = duration(self.plan.hours * 3600)
            planned = f" (planned: {whole}, ${self.plan.usd:.2f}, {self.plan.seconds_per_step:.1f} s a step)"
        self.screen.note(f"step {line['step']}: {heading}{planned}")
        if limit := self.config.budget.reached(total / 3600, usd(total)):
            self.screen.warn(f"{limit} will end the run before its last step: it is {heading}")
        self.record.save(heading={"seconds": total, "usd": usd(total), "seconds_per_step": per_step})
