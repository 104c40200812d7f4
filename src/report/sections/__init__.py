"""The sections of the page. To add one, write a module with a SECTION and put its name where the page shall have it."""

from src.report.sections import (
    answer,
    claims,
    configurations,
    cost,
    curves,
    efficiency,
    equal_cost,
    fronts,
    left_out,
    levels,
    models,
    problems,
    scaling,
    sweeps,
    verdict,
)

# In the order of the page.
SECTIONS = tuple(
    module.SECTION
    for module in (
        answer, verdict, models, curves, fronts, equal_cost, efficiency, sweeps, scaling, problems, levels, cost, configurations, claims, left_out,
    )
)  # fmt: skip
