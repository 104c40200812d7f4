"""A weight of the mix as a function of the step. Add a course by adding it to COURSES."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import BeforeValidator, Field, field_validator

from src.common.base import Config
from src.common.errors import refuse_unknown

Part = Annotated[float, Field(ge=0, le=1)]


@dataclass(frozen=True, slots=True)
class Moment:
    """How far a run has come, 0 to 1."""

    step: int  # from 0
    steps: int
    lengthened: float  # the limit's way from the first to the highest one


class CourseConfig(Config):
    """From `start` to `end`, up to the share `until` of the run."""

    course: str = "linear"
    start: Part
    end: Part
    until: Annotated[float, Field(gt=0, le=1)] = 1.0
    stages: int = Field(3, ge=2)  # of `staged`, of equal length, each at one value

    @field_validator("course")
    @classmethod
    def _known(cls, course: str) -> str:
        refuse_unknown([course], COURSES, "course")
        return course

    def at(self, moment: Moment) -> float:
        """The value at a step."""
        return self.start + (self.end - self.start) * COURSES[self.course](self, moment)


def linear(config: CourseConfig, moment: Moment) -> float:
    last = config.until * moment.steps - 1  # the step that has the end's value
    return min(1.0, moment.step / last) if last > 0 else 1.0


def cosine(config: CourseConfig, moment: Moment) -> float:
    return 0.5 * (1.0 - math.cos(math.pi * linear(config, moment)))


def staged(config: CourseConfig, moment: Moment) -> float:
    stage = int(moment.step * config.stages / (config.until * moment.steps))
    return min(stage, config.stages - 1) / (config.stages - 1)


# Each the part of the way from start to end.
COURSES: dict[str, Callable[[CourseConfig, Moment], float]] = {
    "constant": lambda config, moment: 0.0,
    "linear": linear,
    "cosine": cosine,  # half a wave: slow at both ends, as E2H fades easy problems out (arXiv 2506.06632)
    "staged": staged,
    "length": lambda config, moment: moment.lengthened,  # difficulty and budget raised together, as e3 does (arXiv 2506.09026)
}


def spelled_out(value: Any) -> Any:
    """A number stands for a constant, a pair for a straight line."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return {"course": "constant", "start": value, "end": value}
    if isinstance(value, list | tuple):
        if len(value) != 2:
            raise ValueError(f"a list is [start, end], not {len(value)} numbers; give a mapping with course=staged for stages")
        return {"start": value[0], "end": value[1]}
    return value


Course = Annotated[CourseConfig, BeforeValidator(spelled_out)]


def at(courses: Mapping[str, CourseConfig], moment: Moment) -> dict[str, float]:
    return {name: course.at(moment) for name, course in courses.items()}
