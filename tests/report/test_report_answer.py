"""The answer: recommended where it is shown, and said to be open where it is not."""

import json

import pytest

from benchmarks.records import write_run
from src.report.analysis import analyse


def plant(folder, gains, seeds=3, **rest):
    for name, gain in gains.items():
        for seed in range(seeds):
            settings = {"mix.easy_share": name}
            write_run(folder / f"{name}{seed}", seed=seed, gain=gain, settings=settings, problems=300, samples=4, suites=("chains",), **rest)


@pytest.mark.parametrize(
    ("gains", "seeds", "begins", "says"),
    [
        ({"a": 0.3, "b": 0.0}, 3, "Use mix.easy_share=a: it gained +", "3 seeds, and is better than 1 of 1 other; a run of it took 65 s and $0.50, all 6"),
        ({"c": 0.2, "d": 0.2}, 3, "Use mix.easy_share=", "these data cannot tell which is better; the first gained +"),
        ({"g": 0.07, "h": 0.04}, 3, "Use mix.easy_share=g: it gained +", "3 seeds, the only one that is shown to gain; a run of it"),
        ({"e": 0.07, "f": 0.04}, 3, "These data cannot decide: no recipe is shown", "once corrected for the number of comparisons; nearest"),
        ({"a": 0.0, "b": 0.0}, 3, "These data cannot decide: no recipe is shown to be better than the base", "next, buy more "),
        ({"a": 0.3}, 1, "No recipe can be recommended yet: with 1 seed of at least 3", "next, run 2 more seeds of it (seed=N)."),
        ({"a": 0.0, "b": 0.1, "c": 0.2, "d": 0.3}, 1, "No recipe can", "those of mix.easy_share=d gained +"),
        ({"a": 0.0, "b": 0.1, "c": 0.2, "d": 0.3}, 1, "No recipe can", "over the base on chains (picked among 4, which flatters it); all"),
        ({"a": -0.3, "b": -0.3}, 3, "Use the base as it is", "all recipes are worse; of them mix.easy_share="),
    ],
)
def test_what_is_recommended_is_what_is_shown(gains, seeds, begins, says, tmp_path):
    plant(tmp_path, gains, seeds)
    sentence = str(analyse([tmp_path]).answer)
    assert sentence.startswith(begins) and says in sentence, sentence


def test_of_what_cannot_be_told_apart_all_are_named(tmp_path):
    plant(tmp_path, {"a": 0.25, "b": 0.25, "c": 0.0})
    assert {"mix.easy_share=a or mix.easy_share=b", "mix.easy_share=b or mix.easy_share=a"} & {analyse([tmp_path]).answer.use.removeprefix("Use ")}


def test_a_recipe_that_loses_on_another_suite_is_not_recommended(tmp_path):
    for seed in range(3):
        folder = write_run(tmp_path / f"run{seed}", seed=seed, gain=0.3, suites=("chains",), problems=300, samples=4)
        other = write_run(tmp_path / f"other{seed}", seed=seed, gain=-0.3, suites=("amc23",), problems=300, samples=4)
        for path in (other / "evaluation").iterdir():
            path.rename(folder / "evaluation" / path.name)
        summary = json.loads((folder / "summary.json").read_text())
        (folder / "summary.json").write_text(json.dumps(summary | {"evaluation": {"chains": {}, "amc23": {}}}))
        (other / "summary.json").unlink()
    assert str(analyse([tmp_path]).answer).startswith("It depends on the suite")


def test_what_has_too_few_seeds_is_not_recommended_beside_others_that_have_enough(tmp_path):
    plant(tmp_path, {"a": 0.0})
    plant(tmp_path, {"b": 0.3}, seeds=1)
    sentence = str(analyse([tmp_path]).answer)
    assert sentence.startswith("These data cannot decide: no recipe is shown to be better than the base; nearest to it mix.easy_share=b gained +")
    assert "1 seed of at least 3; " in sentence and sentence.endswith("next, run more seeds of mix.easy_share=b.")


def test_without_a_run_at_its_end_there_is_no_answer(tmp_path):
    folder = write_run(tmp_path / "run")
    summary = json.loads((folder / "summary.json").read_text())
    (folder / "summary.json").write_text(json.dumps(summary | {"status": "running"}))
    assert str(analyse([tmp_path]).answer).startswith("There is no answer yet: no run was measured to its end; the one run took 65 s")
