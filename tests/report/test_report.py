"""The report from records to files: the verdict, what is left out, and what is not ranked."""

import csv
import json
import re
import shutil
from itertools import product

import numpy as np
import pandas as pd
import pytest
from conftest import ROOT, figures_of, tables_of

from benchmarks.records import write_run, write_table
from src.drawing.chart import Figure, chart
from src.drawing.table import table
from src.report import page
from src.report.__main__ import main
from src.report.analysis import analyse
from src.report.page import notes
from src.report.section import Section


def report(*folders, output):
    return main([*map(str, folders), "--output", str(output)])


def reasons(analysis):
    return {entry.folder.rsplit("/", 1)[-1]: entry.reason for entry in (*analysis.left_out, *analysis.unfinished)}


@pytest.fixture(scope="module")
def three_seeds(tmp_path_factory):
    """Two configurations of three seeds: one gains 20 points, the other nothing."""
    folder = tmp_path_factory.mktemp("records")
    for seed in range(3):
        write_run(folder / f"good{seed}", seed=seed, gain=0.2, settings={"mix.easy_share": 0.5})
        write_run(folder / f"idle{seed}", seed=seed, gain=0.0, settings={"mix.easy_share": 0.1})
    return folder


def test_the_verdict_tells_gain_from_noise(three_seeds):
    analysis = analyse([three_seeds])
    assert [(c.label, c.seeds) for c in analysis.configurations] == [
        ("mix.easy_share=0.5", [0, 1, 2]),
        ("mix.easy_share=0.1", [0, 1, 2]),
    ]
    chains = next(group for group in analysis.groups if group.suite == "chains")
    good, idle = (analysis.verdict.of(chains, c) for c in analysis.configurations)
    assert (good.standing, good.enough_seeds) == ("better", True)
    assert good.difference.interval.low < 0.2 < good.difference.interval.high + 0.05
    assert idle.standing == "not resolved"
    heading, words = analysis.sentences[0]
    assert heading == "chains: 100 problems, 2 samples"
    assert words[0].startswith("1 of 2 configurations is better than the base: mix.easy_share=0.5 by +")
    assert any("in 4 of 5 tries" in sentence for sentence in words)
    assert not any("Seeds are too few" in sentence for sentence in words)


def test_runs_that_went_wrong_are_named(tmp_path):
    write_run(tmp_path / "fine", seed=0)
    folder = write_run(tmp_path / "ruined", seed=1)
    summary = json.loads((folder / "summary.json").read_text())
    alarm = {"signal": "entropy", "says": "entropy rises", "since": 7, "step": 8, "value": 0.4, "best": 0.1}
    (folder / "summary.json").write_text(json.dumps(summary | {"stability": {"alarms": [alarm]}}))
    (said,) = [note for note in notes(analyse([tmp_path])) if "went wrong" in note]
    assert said.startswith("1 run of 2 went wrong on the way") and said.endswith("/ruined: entropy rises, since step 7.")


def test_a_single_seed_claims_nothing_of_a_recipe(tmp_path):
    write_run(tmp_path / "run", gain=0.3)
    words = analyse([tmp_path]).sentences[0][1]
    assert any("Seeds are too few" in sentence for sentence in words)


def test_exact_accuracy_and_gain(tmp_path):
    folder = write_run(tmp_path / "run", problems=10, suites=("chains",))
    for when, solved in (("before", 2), ("after", 3), ("best", 7)):
        write_table(folder, "chains", when, (np.arange(10) < solved).astype(float), 2, np.random.default_rng(0))
    analysis = analyse([tmp_path])
    row = tables_of(analysis)["results"].rows[0]
    assert [cell.value for cell in row[3:6]] == [0.2, 0.7, 50.0]  # the gain in points
    several = tables_of(analysis)["several_samples"].rows[-1]
    assert [cell.value for cell in several[3:]] == [2, 0.7, 0.7]  # pass@2 and majority@2, all samples of a problem being alike


def in_rounds(folder, weight):
    """Rewrite a record's tables as if the first problem had got two samples more, both right, of a second round."""
    for path in (folder / "evaluation").glob("chains_*.parquet"):
        rows = pd.read_parquet(path).assign(right_unboxed=False)
        first = rows["problem_id"] == "chains00000"
        more = rows[first].assign(sample=[8, 9], correct=True)
        weights = [*np.where(first, weight, 0.5), weight, weight]
        pd.concat([rows, more]).assign(weight=weights).to_parquet(path, index=False)


def test_samples_drawn_in_rounds_count_by_their_weight(tmp_path):
    folder = write_run(tmp_path / "run", problems=10, suites=("chains",))
    for when in ("before", "after", "best"):
        write_table(folder, "chains", when, np.zeros(10), 2, np.random.default_rng(0))
    in_rounds(folder, 0.25)
    analysis = analyse([tmp_path])
    measure = analysis.runs[0].final("chains")
    assert measure.accuracy_P.tolist() == [0.5] + [0.0] * 9
    assert (measure.samples, measure.effective_samples) == (2, 4)  # fewest, and those of the one problem that varies
    assert measure.votes_P[0].correct == 0  # k samples are the first ones: how many more there are depends on them
    assert tables_of(analysis)["results"].rows[0][4].value == 0.05
    in_rounds(folder := write_run(tmp_path / "torn", problems=10, suites=("chains",)), 0.2)
    assert "do not add up to 1" in reasons(analyse([folder]))["torn"]


def test_the_part_of_a_gain_that_is_boxing_stands_beside_it(tmp_path):
    folder = write_run(tmp_path / "run", problems=10, suites=("chains",))
    assert tables_of(analyse([tmp_path]))["results"].rows[0][12].value is None  # of an earlier version
    for when, solved, unboxed in (("before", 2, 5), ("after", 8, 9), ("best", 8, 9)):
        write_table(folder, "chains", when, (np.arange(10) < solved).astype(float), 2, np.random.default_rng(0))
        path = folder / "evaluation" / f"chains_{when}.parquet"
        rows = pd.read_parquet(path)
        right = rows["problem_id"].str.removeprefix("chains").astype(int)
        rows.assign(right_unboxed=(right >= solved) & (right < unboxed)).to_parquet(path, index=False)
    row = tables_of(analyse([tmp_path]))["results"].rows[0]
    assert (row[5].value, row[12].value) == (60.0, 20.0)  # 3 of 10 were right in no box before, 1 still is


def test_factorial_effects_are_exact(tmp_path):
    solved = {(0, 0): 2, (1, 0): 4, (0, 1): 3, (1, 1): 9}
    for seed, ((a, b), count) in product(range(3), solved.items()):
        settings = {"mix.easy_share": a, "lr.peak": b}
        folder = write_run(tmp_path / f"{a}{b}{seed}", problems=10, suites=("chains",), seed=seed, settings=settings)
        write_table(folder, "chains", "best", (np.arange(10) < count).astype(float), 1, np.random.default_rng(0))
        write_table(folder, "chains", "before", np.zeros(10), 1, np.random.default_rng(0))
        write_table(folder, "chains", "after", np.zeros(10), 1, np.random.default_rng(0))
        path = folder / "evaluation" / "chains_best.parquet"
        pd.read_parquet(path).assign(tokens=np.arange(10) + 40 - 5 * a).to_parquet(path)
    analysis = analyse([tmp_path])
    factorial = analysis.factorials[0]
    found = {effect.name: effect.difference.interval.mean for effect in factorial.effects}
    assert found == pytest.approx(
        {
            "lr.peak: 0 → 1": 0.3,
            "mix.easy_share: 0 → 1": 0.4,
            "lr.peak: 0 → 1 × mix.easy_share: 0 → 1": 0.4,
        }
    )
    tokens = {effect.name: effect.tokens.interval.mean for effect in factorial.effects if not effect.interaction}
    assert tokens == pytest.approx({"lr.peak: 0 → 1": 0.0, "mix.easy_share: 0 → 1": -5.0})
    heading, words = analysis.sentences[-1]
    assert heading == "chains: effects of 2 factors over 4 cells × 3 seeds"
    assert "mix.easy_share: 0 → 1 changes completion length by −5.0 (−5.0 to −5.0) tokens; the rest is not shown to" in words[1]


def test_a_factorial_of_one_seed_claims_nothing_of_a_factor(tmp_path):
    factorial(tmp_path, [(0, 0), (1, 0), (0, 1), (1, 1)])
    _, words = analyse([tmp_path]).sentences[-1]
    assert words == ["Seeds are too few to claim anything of a factor (1 of at least 3): effects are of these weights."]


def test_a_searchs_configurations_are_told_apart_by_what_was_drawn(tmp_path):
    drawn = [(0.1, "fixed", 0.5), (0.2, "staged", 0.6), (0.3, "fixed", 0.7)]
    for number, (share, length, fraction) in enumerate(drawn):
        settings = {"mix.easy_share": share, "choices.length": length, "length.schedule": length, "length.fraction": fraction}
        write_run(tmp_path / str(number), suites=("chains",), settings=settings)
    labels = [configuration.label for configuration in analyse([tmp_path]).configurations]
    assert labels[1] == "mix.easy_share=0.2, length=staged, length.fraction=0.6"


def test_what_comes_with_an_option_is_not_told_beside_it(tmp_path):
    for size in ("a", "b", "c"):
        write_run(tmp_path / size, suites=("chains",), settings={"choices.model": size, "model.path": size, "model.size": size})
    assert [configuration.label for configuration in analyse([tmp_path]).configurations] == ["model=a", "model=b", "model=c"]


def factorial(folder, cells, suites=("chains",), **rest):
    for a, b in cells:
        write_run(folder / f"{a}{b}", suites=suites, settings={"mix.easy_share": a, "lr.peak": b}, **rest)


def test_three_levels_are_compared_with_each_other_and_each_has_its_row(tmp_path):
    """Accuracy, spread over seeds, tokens written and runs that went wrong, by level of a factor."""
    solved = {("fixed", 0): (4, 6), ("fixed", 1): (6, 8), ("linear", 0): (7, 7), ("linear", 1): (8, 8), ("staged", 0): (5, 5), ("staged", 1): (5, 5)}
    for (length, mask), counts in solved.items():
        for seed, count in enumerate(counts):
            settings = {  # with an option comes a setting that another has too
                "choices.length": length, "length.schedule": length, "length.fraction": 0.75 if length == "fixed" else 1.0,
                "algorithm.mask": mask,
            }
            folder = write_run(tmp_path / f"{length}{mask}{seed}", problems=10, suites=("chains",), settings=settings, seed=seed)
            write_table(folder, "chains", "best", (np.arange(10) < count).astype(float), 1, np.random.default_rng(0))
            summary = json.loads((folder / "summary.json").read_text())
            summary["cost"]["completion_tokens"] = {"fixed": 5000, "linear": 4000, "staged": 3000}[length]
            if (length, mask) == ("staged", 1):
                summary["stability"] = {"alarms": [{"signal": "kl", "says": "runs away", "since": 5, "step": 6 + seed}]}
            (folder / "summary.json").write_text(json.dumps(summary))
    analysis = analyse([tmp_path])
    found = {effect.name: effect.difference.interval.mean for effect in analysis.factorials[0].effects if not effect.interaction}
    together = {effect.name: effect for effect in analysis.factorials[0].effects if effect.interaction}
    assert len(together) == 3  # of the mask with each pair of lengths, none of which is a reference
    between = together["algorithm.mask: 0 → 1 × length: linear → staged"]
    assert between.difference.interval.mean == pytest.approx(-0.1) and between.by_seed == pytest.approx((-0.1, -0.1))
    assert found == pytest.approx({
        "algorithm.mask: 0 → 1": 0.1, "length: fixed → linear": 0.15, "length: fixed → staged": -0.1, "length: linear → staged": -0.25,
    })
    table = tables_of(analysis)["factor_levels"]
    rows = {(row[1].value, row[2].value): [cell.value for cell in row[3:]] for row in table.rows}
    runs, accuracy, spread, _, written, wrong, step, _ = rows["length", "fixed"]
    assert (runs, wrong, step) == (4, 0, None)
    assert (accuracy, written) == pytest.approx((0.6, 5.0)) and spread == pytest.approx(100 * 0.02**0.5, abs=1e-4)
    assert rows["length", "linear"][2] == 0 and rows["length", "staged"][5:7] == [2, 6.5]
    assert rows["algorithm.mask", "1"][4] == pytest.approx(4.0)
    drawn = next(f for name, f in figures_of(analysis).items() if name.startswith("cells_chains")).spec
    assert drawn["encoding"]["y"]["title"] == "length" and drawn["encoding"]["color"]["title"] == "algorithm.mask"
    assert len(drawn["data"]["values"].splitlines()) == 1 + 6


def test_a_factorial_is_found_among_other_experiments(tmp_path):
    factorial(tmp_path / "sweep", [(0, 0), (1, 0), (0, 1), (1, 1)], name="open_rs_factorial")
    write_run(tmp_path / "other", name="cosine_length", suites=("chains",))
    (found,) = analyse([tmp_path]).factorials
    assert (found.name, len(found.cells)) == ("chains, open_rs_factorial", 4)
    assert "effects_chains_open_rs_factorial" in figures_of(analyse([tmp_path]))


def test_missing_cells_are_said(tmp_path):
    factorial(tmp_path, [(0, 0), (1, 0), (0, 1)])
    analysis = analyse([tmp_path])
    assert not analysis.factorials
    assert "chains: 3 of 4 cells of lr.peak × mix.easy_share were measured; effects follow when all are." in notes(analysis)


def test_several_samples(tmp_path):
    folder = write_run(tmp_path / "run", problems=4, samples=4, suites=("chains",))
    for when in ("before", "after", "best"):
        write_table(folder, "chains", when, np.array([0.0, 1.0, 1.0, 1.0]), 4, np.random.default_rng(0))
    path = folder / "evaluation" / "chains_best.parquet"
    frame = pd.read_parquet(path)
    mine = frame["problem_id"] == "chains00001"  # one right answer, two equal wrong ones, and one that was not found
    frame.loc[mine, "correct"], frame.loc[mine, "answer"] = [True, False, False, False], ["42", "7", "7", ""]
    frame.to_parquet(path)
    table = tables_of(analyse([tmp_path]))["several_samples"]
    rows = {(row[1].value, row[3].value): (row[4].value, row[5].value) for row in table.rows}
    assert rows["base", 1] == (0.75, 0.75) and rows["base", 4] == (0.75, 0.75)
    # pass@1 1/4, pass@2 1/2, pass@4 1 on that problem; majority@2: right in a tie with a wrong one (twice), or alone.
    assert rows["mix_easy_hard", 1] == pytest.approx(((0.25 + 2) / 4, (0.25 + 2) / 4))
    assert rows["mix_easy_hard", 2] == pytest.approx(((0.5 + 2) / 4, (2 / 6 + 2) / 4), abs=1e-5)
    assert rows["mix_easy_hard", 4] == pytest.approx((0.75, 0.5))
    assert any(name.startswith("pass_at_k_chains") for name in figures_of(analyse([tmp_path])))


def test_what_is_no_record_is_named_and_left_out(tmp_path):
    good = write_run(tmp_path / "good")
    (tmp_path / "empty").mkdir()

    def broken(name, change):
        folder = shutil.copytree(good, tmp_path / name)
        change(folder)

    def summary(**entries):
        def change(folder):
            content = json.loads((folder / "summary.json").read_text()) | entries
            (folder / "summary.json").write_text(json.dumps({k: v for k, v in content.items() if v is not None}))

        return change

    broken("unsaid", lambda folder: (folder / "summary.json").unlink())
    broken("torn", lambda folder: (folder / "summary.json").write_text('{"status": "comp'))
    broken("old", summary(versions=None))
    broken("unmeasured", lambda folder: (folder / "evaluation" / "chains_after.parquet").unlink())
    broken("unevaluated", summary(evaluation={}))
    broken("no_table", lambda folder: (folder / "evaluation" / "chains_best.parquet").write_text("nonsense"))
    broken("no_config", lambda folder: (folder / "config.yaml").unlink())
    broken("no_yaml", lambda folder: (folder / "config.yaml").write_text("a: [1"))
    broken("no_step", lambda folder: (folder / "metrics.jsonl").write_text('{"step": 1}\n[]\n{"step": 3}\n'))
    broken("repeat", lambda folder: None)
    broken("going", summary(status="running"))
    broken("stopped", summary(status="failed", reason="loss is nan"))
    analysis = analyse([tmp_path, tmp_path / "empty", tmp_path / "nowhere"])
    assert reasons(analysis) == {
        "empty": "no record: no run folder in it",
        "nowhere": "no such folder",
        "unsaid": "half-written: it has no summary.json",
        "torn": reasons(analysis)["torn"],
        "old": "from an older version: summary.json has no versions",
        "unmeasured": "missing evaluation: it has no evaluation/chains_after.parquet",
        "unevaluated": "its evaluation is missing from summary.json",
        "no_table": "malformed: evaluation/chains_best.parquet is not a Parquet table",
        "no_config": "half-written: it has no config.yaml",
        "no_yaml": reasons(analysis)["no_yaml"],
        "no_step": "malformed: metrics.jsonl, line 2 is no step",
        "repeat": reasons(analysis)["repeat"],
        "going": "running after 20 steps; curves only",
        "stopped": "failed after 20 steps: loss is nan; curves only",
    }
    assert "not JSON" in reasons(analysis)["torn"] and "not YAML" in reasons(analysis)["no_yaml"]
    # The repeat was read, and is no further evidence.
    assert sum(bool(run.measures) for run in analysis.runs) == 2
    assert len(analysis.groups) == 2 and len(analysis.configurations) == 1
    assert report(tmp_path, output=tmp_path / "report") == 0


def test_the_last_torn_line_of_a_killed_run_is_no_fault(tmp_path):
    folder = write_run(tmp_path / "run")
    with (folder / "metrics.jsonl").open("a") as file:
        file.write('{"step": 21, "accu')
    assert len(analyse([tmp_path]).runs[0].steps["step"]) == 20


@pytest.mark.parametrize("folders", [["nowhere"], ["empty"], []])
def test_nothing_to_report_is_exit_code_2(folders, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    assert report(*folders, output=tmp_path / "report") == 2
    assert "nothing to report in" in capsys.readouterr().err
    assert not (tmp_path / "report").exists()


@pytest.mark.parametrize(
    ("other", "said"),
    [
        ({"samples": 4}, "samples per problem: 2 or 4"),
        ({"problems": 50}, "problem count: 100 or 50"),
        ({"settings": {"evaluation.sampling.temperature": 0.6}}, "sampling: "),
    ],
)
def test_what_was_measured_otherwise_is_not_ranked(other, said, tmp_path):
    write_run(tmp_path / "one", gain=0.1)
    write_run(tmp_path / "two", gain=0.3, **{"settings": {"mix.easy_share": 0.5}} | other)
    analysis = analyse([tmp_path])
    assert not analysis.verdict.between
    assert any(sentence.startswith("chains was measured in 2 ways") and said in sentence for sentence in analysis.apart)


def test_what_was_measured_otherwise_is_named_by_how_much_and_not_by_a_hash(tmp_path):
    write_run(tmp_path / "one", suites=("chains",))
    write_run(tmp_path / "two", suites=("chains",), samples=1, settings={"mix.easy_share": 0.5})
    folder = write_run(tmp_path / "three", suites=("chains",), settings={"mix.easy_share": 0.7})
    for path in (folder / "evaluation").iterdir():  # as much, of other problems
        rows = pd.read_parquet(path)
        rows.assign(problem_id="other" + rows["problem_id"]).to_parquet(path, index=False)
    analysis = analyse([tmp_path])
    names = [group.name for group in analysis.groups]
    assert names == ["chains (100 problems, 2 samples) #1", "chains (100 problems, 2 samples) #2", "chains (100 problems, 1 sample)"]
    hashes = {group.protocol["set of problems"] for group in analysis.groups}
    assert report(tmp_path, output=tmp_path / "report") == 0
    shown = (tmp_path / "report" / "index.html").read_text().partition("<script>")[0]
    assert not any(each in shown or list((tmp_path / "report").rglob(f"*{each}*")) for each in hashes)


def test_a_setting_that_is_not_set_is_said_so_and_what_differs_stands_before_the_name(tmp_path):
    write_run(tmp_path / "one", name="first_sweep")
    write_run(tmp_path / "two", name="first_sweep", settings={"mix.easy_share": 0.8})
    write_run(tmp_path / "three", name="other", settings={"lr.peak": 1})
    labels = sorted(configuration.label for configuration in analyse([tmp_path]).configurations)
    assert labels == ["mix.easy_share unset (first_sweep)", "mix.easy_share=0.8 (first_sweep)", "other"]


def test_where_nothing_varied_it_is_unknown_what_could_be_found(tmp_path):
    for seed in range(3):
        folder = write_run(tmp_path / f"run{seed}", seed=seed, problems=10, suites=("chains",))
        for when in ("before", "after", "best"):
            write_table(folder, "chains", when, np.zeros(10), 2, np.random.default_rng(0))
    analysis = analyse([tmp_path])
    assert tables_of(analysis)["limits"].rows[0][4].text == "unknown"
    assert "unknown" in " ".join(analysis.sentences[0][1]) and "0.0 points in 4 of 5" not in str(analysis.sentences)


def test_costs_are_those_of_a_configuration_in_units_that_one_reads(tmp_path):
    for seed in range(2):
        folder = write_run(tmp_path / f"run{seed}", seed=seed, gain=0.2, suites=("chains",))
        summary = json.loads((folder / "summary.json").read_text())
        summary["cost"] |= {"completion_tokens": 1.25e6 + seed * 1e5, "seconds": {"rollout": 3000.0, "training": 4200.0 + 600 * seed}}
        (folder / "summary.json").write_text(json.dumps(summary))
    analysis = analyse([tmp_path])
    table = tables_of(analysis)["costs"]
    row = dict(zip([name for name, _ in table.columns], table.rows[0], strict=True))
    told = {name: row[name].text for name in ("runs", "time a run", "rollout", "completion tokens", "cost a run")}
    assert told == {"runs": "2", "time a run": "2.1 h", "rollout": "50 min", "completion tokens": "1.3 M", "cost a run": "$0.50"}
    gain = analysis.verdict.with_base[0].difference
    assert row["cost per point"].value == pytest.approx(0.5 / (100 * gain.mean))
    assert row["uncertain from samples/problems/seeds"].value == max(gain.split.shares(), key=gain.split.shares().get)


def test_other_suites_are_not_ranked(tmp_path):
    write_run(tmp_path / "one", suites=("chains",))
    write_run(tmp_path / "two", suites=("amc23",), settings={"mix.easy_share": 0.5})
    analysis = analyse([tmp_path])
    assert not analysis.verdict.between
    assert sum("was measured for 1 of 2 configurations; the others are not ranked on it" in s for s in analysis.apart) == 2
    assert all(sentence in notes(analysis) for sentence in analysis.apart)


def test_another_grader_is_not_ranked(tmp_path):
    write_run(tmp_path / "one")
    folder = write_run(tmp_path / "two", settings={"mix.easy_share": 0.5})
    summary = json.loads((folder / "summary.json").read_text())
    summary["versions"]["math-verify"] = "0.8.0"
    (folder / "summary.json").write_text(json.dumps(summary))
    analysis = analyse([tmp_path])
    assert not analysis.verdict.between
    assert any("grader: math-verify 0.9.0 or math-verify 0.8.0" in sentence for sentence in analysis.apart)


def test_many_configurations_are_compared_with_the_best_alone(tmp_path):
    for number in range(10):
        write_run(
            tmp_path / f"run{number}", settings={"mix.easy_share": number / 10}, suites=("chains",), gain=0.02 * number
        )
    found = analyse([tmp_path]).verdict.between
    assert len(found) == 9 and len({finding.first.key for finding in found}) == 1


def plant(folder, name, gains, **rest):
    """A run for each seed, with the true gain that it is given."""
    for seed, gain in enumerate(gains):
        write_run(folder / f"{name}{seed}", seed=seed, gain=gain, suites=("chains",), settings={"mix.easy_share": name}, **rest)


def test_what_seeds_do_to_all_recipes_does_not_hide_a_difference(tmp_path):
    shared = np.array([-0.15, -0.05, 0.0, 0.05, 0.15, 0.0])
    plant(tmp_path, "a", 0.1 + shared, problems=300, samples=8)
    plant(tmp_path, "b", 0.05 + shared, problems=300, samples=8)
    analysis = analyse([tmp_path])
    (found,) = analysis.verdict.between
    assert found.standing == "better" and found.difference.interval.low > 0.03
    assert all(one.difference.interval.high - one.difference.mean > 0.1 for one in analysis.verdict.with_base)


def test_equal_configurations_have_no_winner_however_many(tmp_path):
    for name in "abcdefghijkl":
        plant(tmp_path, name, [0.1, 0.1, 0.1], seed_spread=0.03)
    found = analyse([tmp_path]).verdict.between
    assert min(f.difference.p for f in found) < 0.05  # by chance
    assert {f.standing for f in found} == {"not resolved"}


def test_one_seed_against_six_is_as_uncertain_as_seeds_are(tmp_path):
    plant(tmp_path, "a", [0.0, 0.05, 0.1, 0.15, 0.2, 0.1], problems=400, samples=8)
    plant(tmp_path, "b", [0.2], problems=400, samples=8)
    (found,) = analyse([tmp_path]).verdict.between
    assert (found.standing, found.enough_seeds) == ("not resolved", False)
    assert found.difference.interval.high - found.difference.mean > 0.15  # about 2.57 x 0.071 x sqrt(1 + 1/6)


def test_beside_what_is_not_resolved_stands_what_it_is_shown_to_be_within(tmp_path):
    plant(tmp_path, "a", [0.1] * 3, problems=400, samples=8)
    plant(tmp_path, "b", [0.1] * 3, problems=400, samples=8)
    analysis = analyse([tmp_path])
    (found,) = analysis.verdict.between
    assert 0 < found.difference.equal_within < 0.05
    assert f"equal within {100 * found.difference.equal_within:.1f} points" in " ".join(analysis.sentences[0][1])
    pairs = tables_of(analysis)["pairs"]
    assert dict(zip([name for name, _ in pairs.columns], pairs.rows[0], strict=True))["equal within points"].value == pytest.approx(
        100 * found.difference.equal_within, abs=1e-3
    )


@pytest.mark.parametrize(
    ("gains", "sizes", "bought"),
    [
        ([0.0, 0.1, 0.2], {"problems": 400, "samples": 8}, "seeds"),
        ([0.1, 0.1, 0.1], {"problems": 40, "samples": 2}, "samples"),
        ([0.2], {"problems": 40, "samples": 2}, "seeds"),  # one seed says nothing of seeds
    ],
)
def test_the_report_says_what_to_buy_next(gains, sizes, bought, tmp_path):
    plant(tmp_path, "a", gains, **sizes)
    limits = tables_of(analyse([tmp_path]))["limits"]
    row = dict(zip([name for name, _ in limits.columns], limits.rows[0], strict=True))
    assert row["buy next"].value == bought
    shares = [row[f"from {source}"].value for source in ("samples", "problems", "seeds")]
    assert sum(share for share in shares if share) == pytest.approx(1, abs=0.01)


def test_looking_again_takes_stronger_evidence_and_is_said(tmp_path):
    plant(tmp_path, "a", [0.14, 0.1, 0.16], problems=400, samples=8)
    plant(tmp_path, "b", [0.04, 0.04, 0.04], problems=400, samples=8)
    once, often = (analyse([tmp_path], looks) for looks in (1, 8))
    (first,), (last,) = once.verdict.between, often.verdict.between
    assert first.p == last.p and 0.012 < first.p < 0.05
    assert (first.standing, last.standing) == ("better", "not resolved")
    assert any("looked at once" in note for note in notes(once)) and any("looked at 8 times" in note for note in notes(often))


def test_a_real_run_makes_every_file(toy_run, tmp_path, capsys):
    assert report(toy_run, output=tmp_path) == 0
    assert "chains: 8 problems, 1 sample" in capsys.readouterr().out
    page = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert len(page.encode()) < 5e6
    outside = re.sub(r"<script[^>]*>.*?</script>", "", page, flags=re.DOTALL)
    assert not re.search(r"(?:src|href)=[\"']?(?:https?:)?//", outside) and "@import" not in outside
    text = (tmp_path / "report.md").read_text(encoding="utf-8")
    assert "Both" in text or "configuration" in text
    assert "| suite | configuration |" in text
    names = {path.name for path in (tmp_path / "figures").iterdir()}
    for figure in (
        "curve_validation_accuracy",
        "curve_completion_tokens_mean",
        "curve_reward_format_mean",
        "curve_kl",
        "curve_entropy",
    ):
        assert {f"{figure}.png", f"{figure}.svg"} <= names
    with (tmp_path / "tables" / "results.csv").open() as file:
        row = next(csv.DictReader(file))
    summary = json.loads((toy_run / "summary.json").read_text())
    assert float(row["accuracy"]) == pytest.approx(summary["evaluation"]["chains"]["best"]["accuracy"], abs=1e-5)
    gain = summary["evaluation"]["chains"]["best"]["gain"]["mean"]
    assert float(row["gain in points"]) == pytest.approx(100 * gain, abs=1e-3)


def test_a_section_is_one_entry_of_the_list(monkeypatch, tmp_path):
    """Its figures and tables are on the page and are files, without a word of them anywhere else."""
    mine = Section(
        "mine", "A section of one's own", "What it is about.",
        figures=lambda analysis: [Figure("my_figure", "Mine", "", chart([{"x": 1}], mark="point"))],
        tables=lambda analysis: [
            table("my_table", "Counted", "", "runs", [[len(analysis.runs)]], brief=True, closed=True),
            table("my_empty_table", "Nothing", "", "runs", []),
        ],
    )  # fmt: skip
    empty = Section("empty", "Nothing to show")
    monkeypatch.setattr(page, "SECTIONS", (*page.SECTIONS, mine, empty))
    write_run(tmp_path / "run")
    assert report(tmp_path / "run", output=tmp_path / "out") == 0
    html = (tmp_path / "out" / "index.html").read_text()
    ids = re.findall(r'<section id="(\w+)"', html)
    assert ids[:2] == ["answer", "verdict"] and ids[-1] == "mine" and "What it is about." in html
    assert '<details class="table"  id="table-my_table">' in html and "my_empty_table" not in html
    assert (tmp_path / "out" / "tables" / "my_table.csv").read_text() == "runs\n1\n"
    assert (tmp_path / "out" / "figures" / "my_figure.png").is_file()
    assert "## Counted" in (tmp_path / "out" / "report.md").read_text()


def test_an_output_that_cannot_be_written(three_seeds, tmp_path, capsys):
    (tmp_path / "file").write_text("in the way")
    assert report(three_seeds, output=tmp_path / "file" / "report") == 2
    assert "cannot write" in capsys.readouterr().err


def test_the_report_reads_files_only():
    for path in (ROOT / "src" / "report").glob("*.py"):
        assert not re.search(
            r"^\s*(?:import|from) (?:torch|trl|transformers|src\.run|src\.training)\b", path.read_text(), re.MULTILINE
        ), path
