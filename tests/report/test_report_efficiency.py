"""What shorter answers cost: savings planted in synthetic records, cut answers worked out by hand, and study C's claims."""

from io import StringIO

import numpy as np
import pandas as pd
import pytest
from conftest import figures_of, tables_of
from test_claims import of_recipe, outcome

from benchmarks.records import write_run
from src.drawing.images import write_images
from src.report.analysis import analyse
from src.report.claims.records import Records
from src.report.claims.tokens import tokens_change
from src.report.findings.cut_answers import CutAnswers, read_answers
from src.report.findings.efficiency import families, relative_change, trade
from src.report.section import parts
from src.report.sections import SECTIONS
from src.report.sections.efficiency import efficiency_tables
from src.report.sections.efficiency_front import efficiency_figures
from src.statistics import Side

PRESSURE = of_recipe("efficient")
SUPERVISED = {"reward.weights.efficient": 0.0, "algorithm.advantages": "shortest_correct"}
BOTH = ("chains", "chains_long")


def plant(folder, saved, hard_saved=None):
    """Tokens that training cuts by a share on easy problems and another on hard ones; hard ones take twice as many."""
    for path in (folder / "evaluation").glob("chains*.parquet"):
        when = path.stem.rpartition("_")[2]
        frame = pd.read_parquet(path)
        place = frame["problem_id"].str[-5:].astype(int).to_numpy()
        shares = np.where(frame["level"] == "hard", saved if hard_saved is None else hard_saved, saved)
        means = (1000 + 10 * place) * np.where(frame["level"] == "hard", 2, 1) * (1 if when == "before" else 1 - shares)
        seed = path.stem if when == "before" else f"{path.stem}{folder.parent.name}{folder.name}"
        noise = np.random.default_rng([*seed.encode()]).normal(1, 0.05, len(frame))
        frame.assign(tokens=np.maximum(1, means * noise).astype(int)).to_parquet(path, index=False)


def recipe(folder, name, saved, hard_saved=None, gain=0.1, seeds=3, suites=("chains",), **settings):
    """`seeds` runs of a configuration that saves as planted."""
    text = "-".join(map(str, settings.values()))  # alpha first
    for seed in range(seeds):
        run = write_run(folder / name / f"{text}_{seed}", name=name, seed=seed, gain=gain, problems=40,
                        suites=suites, settings=PRESSURE | settings)  # fmt: skip
        plant(run, saved, hard_saved)


def alphas(folder, saved, name="alpha_family", **settings):
    """A sweep over alpha: `saved` by alpha."""
    for alpha, share in saved.items():
        recipe(folder, name, share, **{"reward.alpha": alpha} | settings)
    return folder


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Savings of 0, 20 and 40 %, half as much of them on hard problems; a supervised control; the first two with another loss."""
    folder = tmp_path_factory.mktemp("study")
    for alpha, share in ((0.0, 0.0), (0.1, 0.2), (0.4, 0.4)):
        recipe(folder, "alpha_family", share, share / 2, suites=BOTH, **{"reward.alpha": alpha})
    recipe(folder, "efficient_loss", -0.1, -0.1, suites=BOTH, **{"reward.alpha": 0.0, "algorithm.settings.loss_type": "dapo"})
    recipe(folder, "efficient_sft", 0.1, gain=0.0, suites=BOTH, **SUPERVISED)
    return analyse([folder])


def test_a_planted_saving_is_found_with_its_interval(study):
    (found,) = families(study.configurations)
    assert [r.label for r in found.recipes] == ["alpha 0", "alpha 0.1", "alpha 0.4", "alpha 0, loss_type=dapo", "supervised"]
    trades = efficiency_tables(study)[0]
    rows = {row[1].text: row for row in trades.rows if row[0].text == "chains"}
    # Hard problems take two thirds of the tokens and save half as much: 2/3 of the share saved on easy ones.
    for label, share in (("alpha 0", 0.0), ("alpha 0.1", 0.2), ("alpha 0.4", 0.4), ("supervised", 0.15)):
        assert rows[label][7].value == pytest.approx(-share * 2 / 3, abs=0.02), label
        assert rows[label][8].value == pytest.approx(-share * 2 / 3, abs=0.02), label  # of the last weights
        low, high = map(float, rows[label][7].text.replace("−", "-").split("(")[1].rstrip(")").split(" to "))
        assert low - 1 < -100 * share * 2 / 3 < high + 1 and high - low < 8, label
    assert rows["alpha 0.4"][5].value == pytest.approx(100 * (rows["alpha 0.4"][4].value - rows["base"][4].value), abs=1e-3)
    assert rows["supervised"][5].value < 5 < rows["alpha 0.4"][5].value


def test_the_saving_of_each_level_is_told_easiest_first(study):
    levels = efficiency_tables(study)[1]
    found = {(row[0].text, row[1].text): row[6].value for row in levels.rows if row[5].text == "alpha 0.4"}
    assert found["chains", "easy"] == pytest.approx(-0.4, abs=0.03) and found["chains", "hard"] == pytest.approx(-0.2, abs=0.03)
    tokens = [row[4].value for row in levels.rows]
    assert tokens == sorted(tokens) and [row[1].text for row in levels.rows][:5] == ["easy"] * 5


def test_another_loss_is_set_against_the_same_alpha(study):
    rows = [row for row in efficiency_tables(study)[2].rows if row[0].text == "chains"]
    assert [(row[1].value, row[2].text) for row in rows] == [(0.0, "loss_type=dapo")]
    assert rows[0][4].value == pytest.approx(0.1, abs=0.03)


def test_one_seed_and_no_spread_between_problems_leave_no_interval():
    base_P = np.array([10.0, 20.0, 40.0])
    base = Side(base_P)
    certain, unsure = (relative_change(Side(tokens, (0,)), base).interval for tokens in (0.7 * base_P, base_P - 7))
    assert certain.mean == pytest.approx(-0.3)
    assert certain.high - certain.low < 1e-6 and unsure.high - unsure.low > 0.05


def test_a_claim_about_tokens_has_the_page_s_interval(study):
    """The base and the problems are uncertain in both."""
    group = next(g for g in study.groups if g.suite == "chains")
    (family,) = families(study.configurations)
    configuration = next(r.configuration for r in family.recipes if r.label == "alpha 0.4")
    claim = tokens_change(Records((group,), (configuration,)), {}, "chains").interval
    page = trade(group, configuration).change
    assert (claim.mean, claim.low, claim.high) == pytest.approx((100 * page.mean, 100 * page.low, 100 * page.high))


# Two problems of two samples: 10 tokens correct, 30 correct; 20 wrong, 50 correct.
WORKED = CutAnswers(np.array([0, 0, 1, 1]), np.array([10, 30, 20, 50]), np.array([True, True, False, True]), 2)


@pytest.mark.parametrize(
    ("limit", "accuracy", "tokens"),
    [
        (5, [0, 0], [5, 5]),
        (10, [0.5, 0], [10, 10]),
        (30, [1, 0], [20, 25]),  # 10 and 30; 20 and 30
        (49, [1, 0], [20, 34.5]),
        (50, [1, 0.5], [20, 35]),
        (99, [1, 0.5], [20, 35]),
    ],
)
def test_answers_cut_at_a_limit(limit, accuracy, tokens):
    accuracy_P, tokens_P = WORKED.at(limit)
    assert accuracy_P.tolist() == accuracy and tokens_P.tolist() == tokens


def test_the_limit_that_leaves_so_many_tokens():
    assert [WORKED.limit_for(tokens) for tokens in (5, 22.5, 22.6, 27.5, 100)] == [5, 30, 31, 50, 50]
    assert WORKED.curve()[0] == (10, 10.0, 0.25) and WORKED.curve()[-1] == (50, 27.5, 0.75)


def test_uncut_answers_are_the_measure_that_they_came_from(study):
    group = study.groups[0]
    measures = group.measures(group.configurations[0], "before")
    answers = read_answers(measures)
    accuracy_P, tokens_P = answers.at(answers.longest)
    assert accuracy_P == pytest.approx(np.mean([m.accuracy_P for m in measures], axis=0))
    assert tokens_P == pytest.approx(np.mean([m.tokens_P for m in measures], axis=0))


def test_gain_over_the_base_cut_to_as_many_tokens(study):
    rows = {row[1].text: row for row in efficiency_tables(study)[0].rows if row[0].text == "chains"}
    # Cut to 73 % of its tokens the base loses what hard problems it solves; uncut it is the base itself.
    assert rows["alpha 0.4"][9].value > rows["alpha 0.4"][5].value + 10
    assert rows["alpha 0, loss_type=dapo"][9].value == pytest.approx(rows["alpha 0, loss_type=dapo"][5].value)


def test_the_front_holds_base_alphas_and_both_controls(study):
    figures = {figure.name.rsplit("_", 1)[0]: figure for figure in efficiency_figures(study)}
    frame = pd.read_csv(StringIO(figures["efficiency_chains"].spec["data"]["values"]))
    points = frame[frame.point == 1]
    assert points.series.tolist() == ["base", *["length pressure"] * 3, "length pressure, loss_type=dapo", "supervised"]
    assert ((points.x_low < points.x) & (points.x < points.x_high) & (points.low < points.accuracy) & (points.accuracy < points.high)).all()
    cut = frame[frame.point == 0]
    assert len(cut) > 10 and cut.accuracy.is_monotonic_increasing and cut.x.is_monotonic_increasing
    assert cut.iloc[-1].x == pytest.approx(points.iloc[0].x) and cut.iloc[-1].accuracy == pytest.approx(points.iloc[0].accuracy)


def test_the_page_has_the_section(study, tmp_path):
    (found,) = [part for part in parts(SECTIONS, study) if part.section.id == "efficiency"]
    assert [each.name for each in found.tables] == ["efficiency", "efficiency_levels", "efficiency_variants"]
    assert len(found.figures) == 3  # two suites, and the levels
    write_images(found.figures[1:], tmp_path)
    assert all((tmp_path / f"{figure.name}.png").stat().st_size > 10_000 for figure in found.figures[1:])


def test_nothing_is_shown_without_an_alpha_axis(tmp_path):
    recipe(tmp_path, "one", 0.2, seeds=1, **{"reward.alpha": 0.1})
    for alpha in (0.1, 0.2):  # a setting that moves nothing, since its term has no weight
        recipe(tmp_path, "idle", 0.2, seeds=1, **{"reward.alpha": alpha, "reward.weights.efficient": 0.0})
    analysis = analyse([tmp_path])
    assert not [name for name in (*tables_of(analysis), *figures_of(analysis)) if name.startswith("efficiency")]
    assert "efficiency" not in [part.section.id for part in parts(SECTIONS, analysis)]
    recipe(tmp_path, "sft", 0.1, seeds=1, **SUPERVISED)
    assert [r.label for r in families(analyse([tmp_path]).configurations)[0].recipes] == ["alpha 0.1", "supervised"]


def test_models_are_not_mixed(tmp_path):
    for model in ("small", "large"):
        for alpha in (0.0, 0.4):
            recipe(tmp_path, model, alpha, seeds=1, **{"reward.alpha": alpha, "model.path": model})
    recipe(tmp_path, "other", 0.1, seeds=1, **{"reward.alpha": 0.2, "model.path": "third"})
    analysis = analyse([tmp_path])
    assert [(family.model, len(family.recipes)) for family in families(analysis.configurations)] == [("large", 2), ("small", 2)]
    names = [figure.name for figure in efficiency_figures(analysis)]
    assert len(names) == len(set(names)) == 4
    assert {row[0].text for row in efficiency_tables(analysis)[0].rows} >= {"chains (large)", "chains (small)"}


@pytest.mark.parametrize(
    ("sign", "sign_of_last_seed", "expected"), [(1, 1, "supported"), (-1, -1, "contradicted"), (1, -1, "undecided")]
)
def test_tokens_fall_with_alpha_or_not(sign, sign_of_last_seed, expected, tmp_path):
    alphas(tmp_path, {alpha: sign * alpha for alpha in (0.0, 0.1, 0.2, 0.4)})
    for run in tmp_path.glob("alpha_family/*_2"):
        plant(run, sign_of_last_seed * float(run.name.split("_")[0]))
    # Divided by the std, and more of it: another recipe, which the claim does not speak of.
    for alpha in (0.0, 0.05, 0.1, 0.4):
        recipe(tmp_path, "efficient_std", 0.5, seeds=1, **{"reward.alpha": alpha, "algorithm.settings.scale_rewards": "group"})
    assert outcome(analyse([tmp_path]), "C1").at_micro == expected


@pytest.mark.parametrize(("long_saved", "expected"), [(0.1, "supported"), (0.5, "contradicted"), (0.3, "undecided")])
def test_easier_suites_are_compressed_more_or_not(long_saved, expected, tmp_path):
    recipe(tmp_path, "alpha_family", 0.3, suites=BOTH, **{"reward.alpha": 0.1})
    for run in (tmp_path / "alpha_family").iterdir():
        path = run / "evaluation" / "chains_long_best.parquet"
        before = pd.read_parquet(run / "evaluation" / "chains_long_before.parquet")
        noise = np.random.default_rng([ord(c) for c in run.name]).normal(1, 0.1, len(before))
        before.assign(tokens=(before["tokens"] * (1 - long_saved) * noise).astype(int)).to_parquet(path, index=False)
    assert outcome(analyse([tmp_path]), "C4").at_micro == expected


@pytest.mark.parametrize(
    ("grpo", "dapo", "expected"),
    [(0.2, 0.2, "supported"), (0.2, 0.0, "undecided"), (0.2, -0.2, "contradicted"), (-0.2, 0.2, "contradicted"), (0.2, None, "not measured")],
)
def test_alpha_zero_shortens_under_either_loss_or_not(grpo, dapo, expected, tmp_path):
    alphas(tmp_path, {0.0: grpo, 0.4: 0.5})
    alphas(tmp_path, {0.0: 0.5}, "efficient_std", **{"algorithm.settings.scale_rewards": "group"})  # another recipe
    if dapo is not None:
        alphas(tmp_path, {0.0: dapo}, "efficient_loss", **{"algorithm.settings.loss_type": "dapo"})
    assert outcome(analyse([tmp_path]), "C5").at_micro == expected


@pytest.mark.parametrize(
    ("plain", "by_std", "expected"),
    [
        ({0.05: 0.1, 0.4: 0.5}, {0.05: 0.4, 0.4: 0.4}, "supported"),
        ({0.05: 0.1, 0.4: 0.5}, {0.05: 0.1, 0.4: 0.5}, "contradicted"),  # it depends on alpha all the same
        ({0.05: 0.3, 0.4: 0.36}, {0.05: 0.3, 0.4: 0.36}, "undecided"),  # it depends little, but no less than without
        ({0.05: 0.1, 0.4: 0.5}, {0.05: 0.4}, "not measured"),
    ],
)
def test_std_normalisation_undoes_alpha_or_not(plain, by_std, expected, tmp_path):
    alphas(tmp_path, plain)
    alphas(tmp_path, by_std, "efficient_std", **{"algorithm.settings.scale_rewards": "group"})
    assert outcome(analyse([tmp_path]), "C6").at_micro == expected
