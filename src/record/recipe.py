"""What makes a recipe: of a run's configuration, flat by dotted key, those keys that decide what is learnt.

Whoever asks whether two runs are the same asks here: resume, a study's identity, the report's configurations, scaling. A new
key counts from the start; one that changes nothing of what is learnt gets its name in NEVER.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

PRICE = "hardware.price_usd_per_gpu_hour"
# Keys and groups that are never part of a recipe: where a run lies and what it is called, how it is followed, kept, limited,
# published; what other keys say again (`choices`), how its sweep found it; what it costs, and how fast it is.
NEVER = (
    "name", "output_root", "run_dir", "resume", "tracking", "record", "budget", "plan", "hub", "choices", "sweep",
    PRICE, "hardware.grading_workers", "hardware.cpu_threads", "hardware.gradient_checkpointing", "hardware.spec",
    "rollout.host", "rollout.port", "rollout.start_server", "rollout.timeout_s", "rollout.helpers",
    # for the plan alone
    "scale.reference_seconds_per_step", "scale.mean_prompt_share", "scale.natural_completion_tokens", "selection.resample.planned_share",
    "evaluation.until",  # how closely the suites are measured; validation, which chooses weights, is drawn whole
)  # fmt: skip
# What newer keys stood for before there were such: a record that lacks them is of the same recipe.
ALWAYS_WAS = {
    "evaluation.reader": "boxed", "reward.accuracy.reader": "boxed", "reward.terms": {}, "problems.by_level": False,
    "algorithm.teacher": None, "algorithm.teacher_revision": None, "algorithm.reset_optimizer": False,
    "length.per_problem": None,
    "selection.draw.by": "walk", "selection.resample": None, "selection.replay": None, "selection.allocate": None,
}  # fmt: skip
# What may differ besides
AMONG_SEEDS = ("seed", "objective")  # in a configuration of the report: which figure ranks a run changes nothing of it
AMONG_SIZES = (*AMONG_SEEDS, "model", "hardware", "rollout")  # in a scaling study: a size has the machine that it needs
IN_A_CONTINUATION = ("hardware",)  # between a run and its continuation: it may go on on another machine


def recipe_of(config: Mapping[str, Any], besides: Sequence[str] = ()) -> dict[str, Any]:
    """The part of a flat configuration that makes its recipe, without the keys and groups of `besides`."""
    return {key: value for key, value in config.items() if counts(key, besides) and (key, value) not in ALWAYS_WAS.items()}


def counts(key: str, besides: Sequence[str] = ()) -> bool:
    """Whether a dotted key is part of a recipe."""
    return not within(key, (*NEVER, *besides))


def within(key: str, names: Sequence[str]) -> bool:
    """Whether a dotted key is one of the keys, or in one of the groups, of `names`."""
    return any(key == name or key.startswith(f"{name}.") for name in names)


def flat(content: Mapping[str, Any]) -> dict[str, Any]:
    """A nested configuration by dotted key; an empty group stays as it is."""
    found: dict[str, Any] = {}
    for key, value in content.items():
        inside = flat(value) if isinstance(value, Mapping) else {}
        found |= {f"{key}.{name}": each for name, each in inside.items()} or {key: value}
    return found


def differing(configs: Sequence[Mapping[str, Any]]) -> list[str]:
    """Keys whose values are not the same in all of `configs`; what only some have counts as differing."""
    keys = dict.fromkeys(key for config in configs for key in config)
    return [key for key in keys if len({json.dumps(config.get(key), default=str) for config in configs}) > 1]
