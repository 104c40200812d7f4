"""The price of an answer: variances from runs on disk or the table, the cost that of the plan, and a study that keeps its promise."""

import json

import numpy as np
import pytest
import yaml
from conftest import configured

from benchmarks.records import write_run
from src.model.architecture import architecture
from src.plan.answer import GAP, Study, answers, in_words
from src.plan.cost_model import evaluation_seconds, seconds
from src.plan.pilots import noise_of_a_run, of_sides, on_disk, pilots
from src.plan.plan import make_plan
from src.plan.workload import workload
from src.report.__main__ import main
from src.statistics import POWER, Design, Side, power

RUN = ("+experiment=mix_easy_hard", "tracking=none")


def recorded(root, recipes=2, seeds=4, **rest):
    """Finished runs of several recipes with the configuration of real ones; the second recipe is better by 5 points."""
    for recipe in range(recipes):
        for seed in range(seeds):
            folder = root / f"recipe{recipe}" / f"seed{seed}"
            settings = {"model.path": "embedded/micro", "mix.easy_share": recipe / 10}
            write_run(folder, seed=seed, settings=settings, gain=0.1 + 0.05 * recipe, problems=160, samples=2, **rest)
            content = configured(*RUN, f"mix.easy_share={recipe / 10}", f"seed={seed}").published()
            (folder / "config.yaml").write_text(yaml.safe_dump(content))


def test_runs_on_disk_take_the_place_of_the_table(tmp_path):
    config = configured(*RUN, f"output_root={tmp_path}")
    assert pilots(config)["chains"].source.startswith("table: ")
    recorded(tmp_path, seed_spread=0.06)
    found = pilots(config)["chains"]
    assert found.source == "runs on disk: 1 pair of recipes over 4 seeds" and "chains_long" in pilots(config)
    alike = [np.sqrt(on_disk(config)[suite].components.seed) for suite in ("chains", "validation")]
    assert all(0.02 < deviation < 0.2 for deviation in alike)  # planted: 0.06 x sqrt(2), of four seeds
    assert on_disk(configured(*RUN, f"output_root={tmp_path}", "model=micro_1m")) == {}


def test_one_recipe_or_one_seed_is_no_pilot():
    values = np.random.default_rng(0).random((3, 20))
    assert of_sides([Side(values, (0, 1, 2))]) is None
    assert of_sides([Side(values[:1], (0,)), Side(values[1:2], (0,))]) is None
    assert of_sides([Side(values, (0, 1, 2)), Side(values, (3, 4, 5))]) is None  # no seed in common
    none = np.zeros((2, 20))
    assert of_sides([Side(none, (0, 1)), Side(none, (0, 1))]) is None  # nothing solved, nothing known
    assert "1 pair of recipes over 2 seeds" in of_sides([Side(values, (0, 1, 2)), Side(values[:2] / 2, (1, 2))]).source


def test_a_study_costs_what_the_plan_says_and_finds_what_it_promises():
    config = configured(*RUN)
    w, spec = workload(config, architecture(config.model)), config.hardware.known_spec
    (suite,) = [each for each in w.evaluations if each.name == "chains"]
    study = Study(config, w, suite, sum(seconds(w, spec).values()) - evaluation_seconds(w, spec, suite))
    assert study.seconds(Design(1, 160, 2)) == pytest.approx(2 * 3600 * make_plan(config).hours)
    found = {each.suite: each for each in answers(config, seeds=3)}
    for name, each in found.items():
        variances = pilots(config)[name].components
        assert power(variances, each.asked, each.finds) == pytest.approx(POWER, abs=0.01)
        assert power(variances, each.takes, GAP) >= POWER
        cheaper = [design for design in study.designs() if study.seconds(design) < 3600 * each.hours] if name == "chains" else []
        assert not any(power(variances, design, GAP) >= POWER for design in cheaper)
    assert found["chains"].asked == Design(3, 160, 2) and found["chains"].finds > GAP


def test_one_seed_speaks_of_weights_and_thirty_problems_cannot_find_two_points(tmp_path):
    lines = in_words(answers(configured(*RUN, "scale=open_rs", f"output_root={tmp_path}")))
    assert "two trained models (of their recipes nothing)" in lines["aime24 finds"]
    assert lines["2 points on aime24"].startswith("not found with these problems")
    assert "GPU-hours, $" in lines["2 points on math_500"]
    (about,) = [line for name, line in lines.items() if name.startswith("variances of")]
    assert "arXiv 2504.07086" in about and "assumed" in about


def test_the_plan_of_a_run_and_of_a_sweep_price_an_answer(command_here, tmp_path):
    for given, seeds in ((RUN, 1), (("-m", *RUN, "lr.peak=1e-4,1e-3", "sweep.sampler=grid", "sweep.seeds=3"), 3)):
        result = command_here(*given, "plan=true")
        assert result.returncode == 0 and f"with {seeds} seed" in result.stdout, result.stderr
        (path,) = tmp_path.glob("outputs/plans/*.json")
        chains = next(each for each in json.loads(path.read_text())["answers"] if each["suite"] == "chains")
        assert chains["asked"]["seeds"] == seeds and chains["takes"]["seeds"] >= 3 and chains["hours"] > 0
        path.unlink()


def test_the_report_prices_the_next_answer_from_its_own_runs(tmp_path, capsys):
    recorded(tmp_path / "runs", seed_spread=0.02)
    assert main(["--plan", str(tmp_path / "runs"), "--output", str(tmp_path / "report")]) == 0
    told = capsys.readouterr().out
    assert "chains finds: differences of two recipes of" in told and "2 points on chains: " in told
    assert "runs on disk: 1 pair of recipes over 4 seeds" in told and not (tmp_path / "report").exists()
    recorded(tmp_path / "few", seeds=1)
    assert main(["--plan", str(tmp_path / "few")]) == 2 and "no two recipes over the same two seeds" in capsys.readouterr().err


@pytest.mark.parametrize("objective", ["cost.usd", "evaluation.validation.best.mean_tokens", "evaluation.nothing.best.accuracy"])
def test_nothing_is_known_of_how_seeds_move_another_figure(objective):
    config = configured(*RUN)
    assert noise_of_a_run(config, objective) is None
    validation = pilots(config)["validation"].components
    known = noise_of_a_run(config, "evaluation.validation.best.accuracy")
    assert known == pytest.approx((validation.seed + (validation.cell + validation.sample / 4) / 160) / 2)
