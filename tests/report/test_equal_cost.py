"""Recipes at equal cost: worked out by hand on planted runs, and as a real sweep measured it."""

import numpy as np
import pytest
from conftest import figures_of, tables_of

from benchmarks.records import write_run, write_table
from src.record.measures import read_measure
from src.report.analysis import analyse
from src.report.findings.equal_cost import between


def chosen(selection, **rest):
    return {"choices.selection": selection, "selection.kind": selection, **rest}


def solving(folder, settings, counts, **rest):
    """A run of ten steps that solves so many of ten problems at steps 5 and 10, every time."""
    run = write_run(folder, suites=("validation",), problems=10, steps=10, settings=settings, **rest)
    for when, count in zip(("before", "step_00005", "step_00010", "after"), (0, *counts, counts[-1]), strict=True):
        write_table(run, "validation", when, (np.arange(10) < count).astype(float), 1, np.random.default_rng(0))
    return run


def row_of(table, configuration):
    (row,) = [row for row in table.rows if row[1].value == configuration]
    return dict(zip([name for name, _ in table.columns], [cell.value for cell in row], strict=True))


def test_accuracy_is_read_between_two_validations_where_the_cheapest_run_ended(tmp_path):
    for seed in range(3):
        solving(tmp_path / f"a{seed}", chosen("fixed"), (3, 5), seed=seed, operations=1e9)
        solving(tmp_path / f"b{seed}", chosen("resample"), (4, 7), seed=seed, operations=1.25e9)
    analysis = analyse([tmp_path])
    tables = tables_of(analysis)
    cheap, dear = (row_of(tables["equal_cost"], f"selection={name}") for name in ("fixed", "resample"))
    assert (dear["times the cheapest"], dear["steps at equal cost"]) == (1.25, 8)
    assert (cheap["accuracy at equal steps"], cheap["accuracy at equal cost"]) == (0.5, 0.5)
    assert (dear["accuracy at equal steps"], dear["accuracy at equal cost"]) == (0.7, 0.58)  # 0.4 + 0.6 x 0.3
    (pair,) = tables["pairs_equal_cost"].rows
    assert pair[1].value == "selection=resample" and pair[3].value == pytest.approx(8)
    heading, words = analysis.sentences[-1]
    assert heading == "validation at equal cost: where the cheapest run had ended, after 1e+10 operations"
    assert words[0] == "To its end selection=resample took 1.25 times the operations of selection=fixed."
    drawn = figures_of(analysis)["over_cost_validation_at_equal_steps"].spec["data"]["values"].splitlines()
    assert drawn[-1].split(",")[:3] == ["selection=resample", "10", "12500000000.0"] and len(drawn) == 1 + 6


def test_a_measurement_between_two_is_as_noisy_as_one(tmp_path):
    """Both were drawn with the same seed, so that nothing is averaged out."""
    run = solving(tmp_path / "run", chosen("fixed"), (2, 4), operations=1e9)
    first, second = (read_measure(run, "validation", f"step_{step:05d}") for step in (5, 10))
    found = between(first, second, 0.5)
    assert found.accuracy_P.tolist() == [1, 1, 0.5, 0.5, 0, 0, 0, 0, 0, 0] and found.effective_samples == 1
    assert between(first, second, 1.0).accuracy_P.tolist() == second.accuracy_P.tolist()


def test_a_run_without_a_validation_before_that_cost_is_left_out(tmp_path):
    """A straight line from the base would say nothing of where its curve was."""
    for seed in (42, 43):
        solving(tmp_path / f"fixed_{seed}", chosen("fixed"), (2, 4), seed=seed, operations=1e9)
        solving(tmp_path / f"resample_{seed}", chosen("resample"), (2, 4), seed=seed, operations=4e9)
    found = analyse([tmp_path])
    assert not found.equal_costs
    assert sum("its first validation, at step 5, came after that cost" in each.reason for each in found.left_out) == 2


def test_what_is_worth_its_price_at_equal_steps_is_not_at_equal_cost(tmp_path):
    """Paired by seed: what seeds do to both recipes does not hide it."""
    for seed, shared in enumerate((-0.1, -0.03, 0.0, 0.03, 0.1)):
        for name, operations in (("fixed", 1e9), ("resample", 2e9)):
            write_run(tmp_path / f"{name}{seed}", seed=seed, gain=0.25 + shared, problems=300, samples=8, operations=operations,
                      settings=chosen(name))
    analysis = analyse([tmp_path])
    (found,) = analysis.equal_costs
    (at_cost,), (at_steps,) = found.verdict.between, [f for f in analysis.verdict.between if f.group.suite == "validation"]
    assert at_steps.standing == "not resolved" and abs(at_steps.difference.mean) < 0.02
    assert (at_cost.standing, at_cost.first.label) == ("better", "selection=fixed")
    assert at_cost.difference.interval.high - at_cost.difference.mean < 0.1 < at_cost.difference.mean


def test_a_factorial_is_read_at_equal_steps_and_at_equal_cost(tmp_path):
    for seed in range(3):
        for selection, operations in (("fixed", 1e9), ("resample", 1.25e9)):
            for length in ("fixed", "linear"):
                settings = chosen(selection, **{"choices.length": length, "length.schedule": length})
                solving(tmp_path / f"{selection}{length}{seed}", settings, (4, 5 + 2 * (selection == "resample")), seed=seed, operations=operations)
    analysis = analyse([tmp_path])
    rows = {(row[0].value, row[1].value): row[3].value for row in tables_of(analysis)["effects_equal_cost"].rows}
    change = "selection: fixed → resample"
    assert rows["validation at equal steps", change] == pytest.approx(20)
    assert rows["validation at equal cost", change] == pytest.approx(8) and rows["validation at equal cost", "length: fixed → linear"] == 0
    assert "effects_validation_at_equal_cost" in figures_of(analysis)
    assert analysis.sentences[-1][1][1].startswith("No factor is shown to change accuracy; each effect lies within ±")


@pytest.mark.parametrize(
    "others",
    [
        {"operations": 1.04e9},  # next to the same
        {"operations": 2e9, "steps": 20},
        {},  # a record of before operations were counted
    ],
)
def test_what_cannot_be_compared_so_is_not(others, tmp_path):
    write_run(tmp_path / "a", steps=10, operations=1e9, settings=chosen("fixed"))
    write_run(tmp_path / "b", **{"steps": 10, "settings": chosen("resample"), **others})
    analysis = analyse([tmp_path])
    assert not analysis.equal_costs and not analysis.left_out and "equal_cost" not in tables_of(analysis)


def test_a_run_whose_validations_are_gone_is_named(tmp_path):
    for seed, (name, operations) in enumerate((("fixed", 1e9), ("resample", 2e9), ("schedule", 1.5e9))):
        write_run(tmp_path / name, seed=seed, steps=10, operations=operations, settings=chosen(name))
    (tmp_path / "resample" / "evaluation" / "validation_step_00005.parquet").unlink()
    analysis = analyse([tmp_path])
    (found,) = analysis.equal_costs
    assert [c.label for c in found.group.configurations] == ["selection=fixed", "selection=schedule"]
    assert [each.reason for each in analysis.left_out] == [
        "not compared at equal cost: missing evaluation: it has no evaluation/validation_step_00005.parquet"
    ]
