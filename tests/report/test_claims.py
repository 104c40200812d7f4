"""The published claims: all of them there, all of them testable, and their outcomes on records made to decide them."""

import json
import re
from typing import Any

import numpy as np
import pytest
import yaml
from conftest import ROOT, configured, tables_of

from benchmarks.records import write_run, write_table
from src.record.recipe import flat
from src.report.analysis import analyse
from src.report.claims.claims import read_studies
from src.report.claims.decision import ClaimEffect, TestConfig, decide
from src.report.claims.effects import KINDS, difference, late_change, mean_gain, won_at_equal
from src.report.claims.records import Records
from src.report.reference.read import reference
from src.report.sections.claims import PUBLISHED
from src.statistics import Interval

CLAIMS = [claim for study in read_studies() for claim in study.claims]
RECIPES = {name: recipe for study in read_studies() for name, recipe in study.recipes.items()}


def outcome(analysis, claim):
    return next(verdict for verdict in analysis.claims if verdict.claim.id == claim)


def of_recipe(name: str, scale: str = "micro", **changes: Any) -> dict[str, Any]:
    """Settings of a record that is of a recipe, but for `changes` (dots written as two underscores)."""
    recipe = RECIPES[name]
    besides = getattr(recipe, scale)
    wanted = recipe.settings | (besides[0] if isinstance(besides, list) else besides)
    settings = {key: first(value) for key, value in wanted.items()}
    return settings | {key.replace("__", "."): value for key, value in changes.items()}


def first(values: Any) -> Any:
    if isinstance(values, dict):
        return {key: first(value) for key, value in values.items()}
    return values[0] if isinstance(values, list) else values


def records(folder, recipes=()):
    """All that is below a folder, as of the published scale."""
    analysis = analyse([folder])
    return Records(tuple(analysis.groups), tuple(analysis.configurations), recipes=dict(recipes))


def test_every_claim_of_the_three_studies_is_there():
    wanted = [f"A{n}" for n in range(1, 10)] + [f"B{n}" for n in range(1, 9)] + [f"C{n}" for n in range(1, 7)]
    assert [claim.id for claim in CLAIMS] == wanted
    for claim in CLAIMS:
        assert re.match(r"arXiv \d{4}\.\d{5}", claim.source) and claim.published and claim.needs and claim.test


# Suites of other fields, which a run is given as files.
OTHER_FIELDS = {"humaneval", "supergpqa", "zebralogic", "copying", "comparison"}


def test_every_test_names_what_exists():
    suites = {"validation"} | OTHER_FIELDS
    for path in (ROOT / "conf" / "evaluation").glob("*.yaml"):
        suites |= set(yaml.safe_load(path.read_text()).get("suites", ()))
    for claim in CLAIMS:
        for test in (*claim.full, *claim.micro):
            assert test.kind in KINDS
            named = [test.of.get(key) for key in ("recipe", "where")] + test.of.get("recipes", [])
            assert {name for name in named if isinstance(name, str)} <= set(RECIPES)
            chosen = [test.of.get(key) for key in ("recipe", "where", "first", "second")] + test.of.get("less", [])
            assert {each["recipe"] for each in chosen if isinstance(each, dict)} <= set(RECIPES)
            named = [test.of.get(key, "validation") for key in ("suite", "easier", "harder")]
            assert {*named, *test.of.get("suites", [])} <= suites


@pytest.mark.parametrize(
    ("direction", "margin", "low", "high", "expected"),
    [
        ("up", 0, 1, 3, "supported"),
        ("up", 0, -3, -1, "contradicted"),
        ("up", 0, -1, 3, "undecided"),
        ("up", 2, 1, 3, "undecided"),
        ("down", 0, -3, -1, "supported"),
        ("down", 0, 1, 3, "contradicted"),
        ("same", 2, -1, 1, "supported"),
        ("same", 2, 3, 4, "contradicted"),
        ("same", 2, 1, 3, "undecided"),
    ],
)
def test_an_interval_decides(direction, margin, low, high, expected):
    test = TestConfig(kind="gain", of={}, direction=direction, margin=margin)
    assert decide(test, ClaimEffect(Interval((low + high) / 2, low, high), seeds=3))[0] == expected


def test_too_few_seeds_decide_nothing_and_the_bill_is_named():
    test = TestConfig(kind="gain", of={}, direction="up", margin=0)
    outcome, reason = decide(test, ClaimEffect(Interval(5, 4, 6), seeds=1, usd_per_seed=21))
    assert outcome == "undecided" and "takes 2 more (about $42 more)" in reason


def test_a_claim_that_is_looked_at_again_takes_more(tmp_path):
    test = TestConfig(kind="gain", of={}, direction="up", margin=0)
    effect = ClaimEffect(Interval(5, 0.5, 9.5), seeds=6)
    assert decide(test, effect)[0] == "supported" and decide(test, effect, looks=4)[0] == "undecided"
    assert decide(test, ClaimEffect(Interval(4, -0.5, 8.5), seeds=6))[1].endswith("as --looks 2")


def test_claims_of_studies_that_no_run_speaks_to_are_folded(tmp_path):
    for seed in range(3):
        write_run(tmp_path / f"run{seed}", seed=seed, name="high_quality_data", settings=of_recipe("high_quality_data"))
    analysis = analyse([tmp_path])
    tables = tables_of(analysis)
    told, rest = ({row[0].text[0] for row in tables[name].rows} for name in ("claims", "other_claims"))
    assert analysis.studies == told == {"A"} and rest == {"B", "C"}
    assert tables["other_claims"].closed and tables["published_efficient_reasoning"].closed and not tables["published_baselines"].closed
    measured = [dict(zip([name for name, _ in tables["claims"].columns], row, strict=True)) for row in tables["claims"].rows]
    assert all(row["verdict"].text == "not measured" or row["measured"].text == "by analogy, on the micro model" for row in measured)
    (late,) = [row for row in measured if row["claim"].text == "A2"]
    assert re.fullmatch(r"\d+/\d+/\d+ %: (samples|problems|seeds)", late["uncertain from samples/problems/seeds"].text)


def test_late_change_is_paired_by_run(tmp_path):
    """Planted: the last weights of each run are 10 points below its best, and runs lie 20 points apart."""
    for seed in range(3):
        folder = write_run(tmp_path / f"run{seed}", seed=seed, name="high_quality_data", problems=400, suites=("chains",),
                           settings=of_recipe("high_quality_data"))  # fmt: skip
        for when, solved in (("best", 100 + 80 * seed), ("after", 60 + 80 * seed)):
            write_table(folder, "chains", when, (np.arange(400) < solved).astype(float), 2, np.random.default_rng(0))
    analysis = analyse([tmp_path])
    found = late_change(records(tmp_path), {}, "chains")
    assert found.interval.mean == pytest.approx(-10) and found.interval.high < -8
    assert outcome(analysis, "A2").at_micro == "supported"


def test_a_micro_model_s_verdict_is_never_shown_as_the_paper_s(tmp_path):
    for seed in range(3):
        write_run(tmp_path / f"run{seed}", seed=seed, name="high_quality_data", gain=0.3, settings=of_recipe("high_quality_data"))
    analysis = analyse([tmp_path])
    found, curves = outcome(analysis, "A1"), outcome(analysis, "A3")  # A3 needs no suite that micro runs lack
    assert (found.at_scale, found.at_micro) == ("not measured", "supported")
    assert curves.at_scale == "not measured" != curves.at_micro


@pytest.mark.parametrize("name", RECIPES)
@pytest.mark.parametrize("scale", ["micro", "full"])
def test_an_experiment_is_of_its_recipe_and_of_no_other(name, scale):
    """As composed, at each scale; a new key has to be put among a recipe's settings or among what may differ."""
    published = {"high_quality_data": ("open_rs", "h200"), "scaling": ("qwen2_5",), "data_reuse": ("qwen2_5",), "group_size": ("qwen2_5",)}
    for chosen in ("micro",) if scale == "micro" else published.get(name, ("open_rs", "h200")):
        config = flat(configured(f"+experiment={name}", f"scale={chosen}").published())
        assert RECIPES[name].faults(config, scale) == []
        assert all(recipe.faults(config, scale) for other, recipe in RECIPES.items() if other not in (name, "data_reuse"))
        (fault,) = RECIPES[name].faults(config | {"lr.peak": 0.5}, scale)
        assert fault.startswith("lr.peak 0.5 for ")
        assert RECIPES[name].faults(config | {"trainer.weight_decay": 0.5}, scale) == ["trainer.weight_decay 0.5, which it does not have"]
        (fault,) = RECIPES[name].faults(config | {"algorithm.settings.delta": 4.0}, scale)
        assert fault == "algorithm.settings.delta 4 for –"


def of_another_recipe(folder):
    """Four runs of another model, rate and loss with the claim's name."""
    changes = {"model.path": "Qwen/Qwen2.5-7B", "lr.peak": 2e-4}
    settings = of_recipe("high_quality_data", "full") | changes
    settings["algorithm.settings"] = settings["algorithm.settings"] | {"loss_type": "dapo"}
    for seed in range(4):
        write_run(folder / f"other{seed}", seed=seed, name="high_quality_data", gain=0.3, settings=settings, scale="h200",
                  suites=("amc23", "math_500"))  # fmt: skip


def test_runs_of_another_recipe_do_not_decide_a_claim_and_are_listed(tmp_path):
    of_another_recipe(tmp_path)
    found = outcome(analyse([tmp_path]), "A1")
    assert found.at_scale == "not measured"
    assert "not of the recipe high_quality_data: 4 runs (" in found.scale_reason
    for fault in ("model.path Qwen/Qwen2.5-7B for deepseek-ai", "lr.peak 0.0002 for 1e-06", "settings.loss_type dapo for bnpo"):
        assert fault in found.scale_reason


def test_the_right_runs_decide_it_beside_them(tmp_path):
    of_another_recipe(tmp_path)
    for seed in range(3):
        write_run(tmp_path / f"run{seed}", seed=seed, name="mine", gain=-0.3, settings=of_recipe("high_quality_data", "full"),
                  scale="open_rs", suites=("amc23", "math_500"))  # fmt: skip
    found = outcome(analyse([tmp_path]), "A1")
    assert found.at_scale == "contradicted" and "3 seeds" in found.scale_reason and "4 runs (" in found.scale_reason


@pytest.mark.parametrize(("late", "expected"), [((), "supported"), ((350,), "undecided"), ((350, 400, 450, None), "not measured")])
def test_a_claim_on_a_step_takes_weights_of_that_step(late, expected, tmp_path):
    """Runs with later weights are said, and with only some runs left nothing is decided: they are chosen by how they went."""
    for seed in range(4):
        folder = write_run(tmp_path / f"run{seed}", seed=seed, name="high_quality_data", gain=0.3, scale="open_rs",
                           settings=of_recipe("high_quality_data", "full"), suites=("amc23", "math_500"))  # fmt: skip
        step = late[seed] if seed < len(late) else 100
        summary = json.loads((folder / "summary.json").read_text()) | {"best_step": step}
        (folder / "summary.json").write_text(json.dumps(summary))
    found = outcome(analyse([tmp_path]), "A1")
    assert found.at_scale == expected
    told = f"{len(late)} of 4 runs of the recipe were not measured by step 100 (their best weights are of step"
    assert (told in found.scale_reason) == bool(late)


def test_runs_at_the_published_scale_decide_the_published_claim(tmp_path):
    for seed in range(3):
        write_run(
            tmp_path / f"run{seed}",
            seed=seed,
            name="high_quality_data",
            gain=-0.3,
            scale="open_rs",
            suites=("amc23", "math_500", "validation"),
            settings=of_recipe("high_quality_data", "full"),
        )
    found = outcome(analyse([tmp_path]), "A1")
    assert (found.at_scale, found.at_micro) == ("contradicted", "not measured")


def test_an_embedded_model_at_another_scale_stays_a_micro_one(tmp_path):
    for seed in range(3):
        settings = of_recipe("high_quality_data", "full", model__path="embedded/micro")
        write_run(tmp_path / f"run{seed}", seed=seed, name="high_quality_data", gain=0.3, scale="open_rs", settings=settings,
                  suites=("amc23", "math_500"))  # fmt: skip
    assert outcome(analyse([tmp_path]), "A1").at_scale == "not measured"


def ladder(folder, gains, experiment="scaling"):
    """Three seeds of one recipe at sizes that gain differently."""
    for number, gain in enumerate(gains):
        for seed in range(3):
            write_run(folder / f"{experiment}{number}{seed}", seed=seed, name=experiment, gain=gain, size=100_000 * 2**number,
                      settings=of_recipe("scaling", model__path=f"embedded/micro_{number}"))  # fmt: skip
    return folder


@pytest.mark.parametrize(("gains", "expected"), [((0.0, 0.1, 0.4, 1.2), "supported"), ((0.6, 0.4, 0.2, 0.0), "contradicted")])
def test_sizes_are_compared_at_equal_data_and_at_equal_compute(gains, expected, tmp_path):
    analysis = analyse([ladder(tmp_path, gains)])
    assert [outcome(analysis, claim).at_micro for claim in ("B1", "B2")] == [expected, expected]
    assert outcome(analysis, "B1").at_scale == "not measured"


def test_equal_compute_is_as_far_as_the_smallest_came(tmp_path):
    # At its end a larger one is ahead, but after a smaller one's operations it has hardly begun.
    found, key = records(ladder(tmp_path, (0.3, 0.35, 0.4))), "parameters/without_embeddings"
    assert won_at_equal(found, key, "samples", {}, ["model"]).interval.mean == 1
    assert won_at_equal(found, key, "flops/training", {}, ["model"]).interval.mean < 0


def group_sizes(folder, accuracy):
    """Three seeds of groups of 4, 8 and 16; `accuracy(size, compute)` at four budgets, each step with equal compute."""
    for size in (4, 8, 16):
        for seed in range(3):
            run = write_run(folder / f"groups{size}{seed}", seed=seed, name="group_size", size=100_000,
                            settings=of_recipe("group_size", algorithm__completions_per_prompt=size))  # fmt: skip
            lines = [
                {"step": step, "samples": 64 // size * step, "flops/training": 1e9 * step, "validation/accuracy": accuracy(size, step)}
                for step in range(1, 5)
            ]
            (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return analyse([folder])


@pytest.mark.parametrize(
    ("accuracy", "expected"),
    [
        (lambda size, step: step / 10 - abs(size - 4 * step) / 100, "supported"),  # the best is 4, 8, 12, 16
        (lambda size, step: step / 10 - abs(size - 20 + 4 * step) / 100, "contradicted"),  # it shrinks
        (lambda size, step: step / 100 - size / 1000, "undecided"),  # one size is always ahead: nothing grows
    ],
)
def test_the_best_group_grows_with_compute_or_not(accuracy, expected, tmp_path):
    assert outcome(group_sizes(tmp_path, accuracy), "B8").at_micro == expected


def test_variants_of_a_model_are_compared_among_themselves(tmp_path):
    # Instruct models are ahead of larger base ones, but in each variant the larger is ahead.
    for variant, more in (("base", 0.0), ("instruct", 0.5)):
        for number in range(3):
            write_run(tmp_path / f"{variant}{number}", name="scaling", gain=0.1 * number + more, size=100_000 * 2**number,
                      settings={"model.path": f"{variant}{number}", "model.variant": variant})  # fmt: skip
    assert won_at_equal(records(tmp_path), "parameters/without_embeddings", "samples", {}, ["model"]).interval.mean == 1


FITS = {
    "scale": "micro",
    "seeds": 3,
    "laws": {
        "compute": {"share_of_ceiling": {"value": 0.997, "low": 0.995, "high": 0.998}},
        "data": {"share_of_ceiling": {"value": 0.9, "low": 0.85, "high": 0.95}},
        "compute_less_data": {"k_max": {"value": -0.003, "low": -0.00583, "high": -0.000172}},
    },
    "forecasts": {"within": {"share_of_ceiling": 0.9}, "across": {"share_of_ceiling": {"value": 0.8, "low": 0.7, "high": 0.9}}},
}


def test_fits_of_a_scaling_study_decide_the_claims_on_the_law(tmp_path):
    folder = ladder(tmp_path / "sweep", (0.1, 0.2, 0.3))
    assert "python -m src.scaling <sweep folder>" in outcome(analyse([tmp_path]), "B3").scale_reason
    (folder / "scaling").mkdir()
    (folder / "scaling" / "results.json").write_text(json.dumps(FITS))
    analysis = analyse([tmp_path])
    found = {claim: outcome(analysis, claim).at_micro for claim in ("B3", "B4", "B5")}
    assert found == {"B3": "contradicted", "B4": "undecided", "B5": "supported"}
    assert "-0.003 (-0.00583 to -0.000172), 3 seeds" in outcome(analysis, "B5").micro_reason
    assert all(outcome(analysis, claim).at_scale == "not measured" for claim in found)


@pytest.mark.parametrize("content", ["{", "[]"])
def test_malformed_fits_are_named_and_left_out(content, tmp_path):
    folder = ladder(tmp_path, (0.1,))
    (folder / "scaling").mkdir()
    (folder / "scaling" / "results.json").write_text(content)
    analysis = analyse([tmp_path])
    assert any("malformed results of a scaling study" in entry.reason for entry in analysis.left_out)
    assert outcome(analysis, "B3").at_micro == "not measured"


def test_a_claim_of_other_fields_needs_all_of_them(tmp_path):
    for seed in range(3):
        write_run(tmp_path / f"run{seed}", seed=seed, name="scaling", gain=0.0, problems=4000, settings=of_recipe("scaling"),
                  suites=("chains_long", "copying", "comparison"))  # fmt: skip
    analysis = analyse([tmp_path])
    assert "to" in outcome(analysis, "B7").micro_reason and outcome(analysis, "B7").at_micro in ("undecided", "contradicted")
    assert outcome(analysis, "B7").at_scale == "not measured"


def test_a_difference_is_taken_between_runs_that_differ_in_nothing_else(tmp_path):
    for seed in range(3):
        for repeats, gain in ((1, 0.2), (25, 0.2)):
            write_run(tmp_path / f"reuse{repeats}{seed}", seed=seed, name="data_reuse", gain=gain, settings={"mix.repeats": repeats})
    for seed in range(5):  # more seeds, but another recipe
        write_run(tmp_path / f"other{seed}", seed=seed, gain=-0.3, settings={"mix.repeats": 1, "lr.peak": 1.0})
    found = difference(records(tmp_path), {"mix.repeats": 25}, {"mix.repeats": 1}, "chains")
    assert abs(found.interval.mean) < 10 and found.seeds == 3


def test_the_mean_gain_over_suites_is_exact(tmp_path):
    folder = write_run(tmp_path / "run", problems=10, suites=("chains", "chains_long"))
    for suite, solved in (("chains", 5), ("chains_long", 3)):
        for when, count in (("before", 2), ("after", 2), ("best", solved)):
            write_table(folder, suite, when, (np.arange(10) < count).astype(float), 1, np.random.default_rng(0))
    assert mean_gain(records(tmp_path), {}, ["chains", "chains_long"]).interval.mean == pytest.approx(20)


def test_published_figures_keep_their_sources():
    for name in PUBLISHED:
        rows = reference(name)
        assert rows and {"source", "protocol", "log"} & set(rows[0])


def test_reuse_says_how_many_problems_it_is_about(tmp_path):
    for seed in range(3):
        for repeats, gain in ((1, 0.3), (25, 0.0), (100, -0.2)):
            settings = of_recipe("data_reuse", mix__repeats=repeats, mix__size=400)
            write_run(tmp_path / f"{repeats}_{seed}", seed=seed, name="data_reuse", gain=gain, settings=settings)
    found = outcome(analyse([tmp_path]), "B6")
    assert found.at_micro == "contradicted"
    assert "25 times over are 16 problems" in found.micro_reason and "100 times over are 4 problems" in found.micro_reason
