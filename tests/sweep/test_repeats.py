"""What a Hydra user expects of -m: listed values are a grid, a point is run once, and a seed is a repeat."""


import pytest
import yaml
from conftest import TINY, command, configured
from optuna.trial import TrialState
from test_sweep import swept
from test_sweep_fleet import swept as simulated
from test_sweep_parts import opened

from src.common.errors import UserError
from src.record.record import read_summary
from src.sweep.__main__ import main
from src.sweep.budget import Spending
from src.sweep.command import place_of
from src.sweep.config import SweepConfig
from src.sweep.read import read_sweep
from src.sweep.repeats import best_of
from src.sweep.results import importances, write_results, write_yaml
from src.sweep.samplers import SamplerMaker, settled
from src.sweep.space import read_space
from src.sweep.study import Claims


@pytest.mark.parametrize(
    ("space", "options", "expected"),
    [
        (["a=1,2,3"], {}, (3, "grid", "none")),
        (["seed=1,2", "b=x,y"], {}, (4, "grid", "none")),
        (["a=range(1,4)", "b=x,y"], {"n_trials": 99}, (6, "grid", "none")),
        (["a=1,2,3"], {"pruner": "median"}, (3, "grid", "median")),
        (["a=1,2,3"], {"n_trials": 2}, (2, "tpe", "median")),
        (["a=interval(0,1)"], {}, (20, "tpe", "median")),
        (["a=interval(0,1)", "seed=1,2,3"], {}, (60, "tpe", "median")),
        (["a=int(interval(1,4))"], {}, (4, "grid", "none")),  # whole numbers, of which there are fewer than trials
    ],
)  # fmt: skip
def test_listed_values_are_a_grid_and_intervals_are_searched(space, options, expected):
    config = settled(SweepConfig(**options), read_space({}, space))
    assert (config.n_trials, config.sampler["name"], config.pruner["name"]) == expected


def told(folder, space, n_trials, sampler="tpe", value=lambda params: params.get("x", 0.0), study=None):
    """A study whose trials have the value of a plain function of their parameters."""
    study = study or opened(folder, space)
    claims, made = Claims(study, folder, space, n_trials), SamplerMaker({"name": sampler}, space)
    while claimed := claims.take(made, lambda: True, lambda: True):
        study.tell(claimed[0], value(claimed[0].params))
    claims.close()
    return study


@pytest.mark.parametrize("sampler", ["tpe", "gp", "nsgaii", "random"])
def test_a_search_repeats_each_configuration_with_each_seed_and_does_not_search_the_seed(sampler, tmp_path):
    space = read_space({}, ["seed=1,2,3", "x=interval(0,1)"])
    study = told(tmp_path, space, 36, sampler, lambda params: params["x"] + params["seed"] / 100)
    drawn = [(trial.params["x"], trial.params["seed"]) for trial in study.trials]
    assert [seed for _, seed in drawn] == [1, 2, 3] * 12
    assert [len({x for x, _ in drawn[at : at + 3]}) for at in range(0, 36, 3)] == [1] * 12
    (best,) = best_of(study)
    highest = max(x for x, _ in drawn)
    assert best.values == [pytest.approx(highest + 0.02)] and best.spreads == [pytest.approx(0.01)] and best.seeds == [1, 2, 3]
    assert importances(study, 0).keys() == {"x"}


def test_a_grid_is_tried_in_its_order_and_goes_on_after_what_an_earlier_version_repeated(tmp_path):
    space = read_space({}, ["x=1,2,3", "seed=7,8"])
    study = opened(tmp_path, space)
    for _ in range(4):  # TPE, which tried one point again and again
        study.enqueue_trial({"x": 2, "seed": 7})
        study.tell(study.ask(space.distributions), 2.0)
    told(tmp_path, space, 6, "grid", study=study)
    points = [(trial.params["x"], trial.params["seed"]) for trial in study.trials]
    assert points == [(2, 7)] * 4 + [(1, 7), (1, 8), (2, 8), (3, 7), (3, 8)]


def test_a_repeat_is_answered_from_the_record(tmp_path):
    _, first = simulated(tmp_path, n_trials=2, n_jobs=1, pruner="none")
    first.study.enqueue_trial(first.study.trials[0].params)
    _, again = simulated(tmp_path, n_trials=4, n_jobs=1, pruner="none")
    one, _, other, _ = again.study.get_trials(deepcopy=False)
    assert other.state == TrialState.COMPLETE and other.values == one.values
    account = other.user_attrs["account"]
    assert (account["repeats"], account["usd"]) == (0, 0.0)
    assert again.spending().full == 3  # what a trial takes is known from those that took it


def test_results_and_report_take_seeds_as_repeats(tmp_path, capsys):
    space = read_space({}, ["seed=1,2,3", "x=0.1,0.2,0.3"])
    study = told(tmp_path, space, 9, "grid", lambda params: params["x"] + params["seed"] / 100)
    write_yaml(tmp_path / "sweep.yaml", {"study": "study", "objectives": {"o": "maximize"}, "fixed": ["+experiment=mix"], "space": {}})
    summary = write_results(tmp_path, study, ["o"], space, Spending(), "enough", noise=1.0)
    (best,) = yaml.safe_load((tmp_path / "best.yaml").read_text())
    assert (best["params"], best["seeds"], best["trial"]) == ({"x": 0.3}, [1, 2, 3], 2)
    assert best["values"]["o"] == pytest.approx(0.32) and best["spread"]["o"] == pytest.approx(0.01)
    assert summary["importances"]["o"].keys() == {"x"}
    found = read_sweep(tmp_path).trials
    assert [(trial.number, trial.params, trial.seeds) for trial in found] == [(n, {"x": x}, 3) for n, x in enumerate((0.1, 0.2, 0.3))]
    assert [trial.value for trial in found] == pytest.approx([0.12, 0.22, 0.32]) and found[0].spread == pytest.approx(0.01)

    written = {path.name: path.read_bytes() for path in tmp_path.glob("*.*") if path.suffix in (".csv", ".yaml", ".parquet")}
    for name in written.keys() - {"sweep.yaml"}:
        (tmp_path / name).unlink()
    assert main(["results", str(tmp_path)]) == 0 and "9 trials" in capsys.readouterr().out
    new = {name: (tmp_path / name).read_bytes() for name in written}
    del written["best.yaml"], new["best.yaml"]  # whose command comes from sweep.yaml, written by hand here
    assert yaml.safe_load(new.pop("summary.yaml"))["ended"] == yaml.safe_load(written.pop("summary.yaml"))["ended"] == "enough"
    assert new == written and (tmp_path / "best.yaml").is_file()
    assert main(["results", str(tmp_path / "none")]) == 2 and "holds no sweep" in capsys.readouterr().err


def test_an_interval_of_seeds_is_refused():
    with pytest.raises(UserError, match="list the seeds, such as seed=1,2,3"):
        read_space({}, ["seed=interval(1,9)"])


def test_another_space_gets_a_folder_of_its_own_and_the_same_one_its_old_one(tmp_path):
    first = configured("+experiment=mix_easy_hard", f"output_root={tmp_path}")

    def place(*space, name=None):
        config = first.model_copy(update={"name": name or first.name})
        return place_of(SweepConfig(), config, read_space({}, space), ".")[0].relative_to(tmp_path / "sweeps").name

    for space, taken in ((["a=1,2"], "mix_easy_hard"), (["a=1,3"], "mix_easy_hard_2"), (["b=1,2"], "mix_easy_hard_3")):
        for _ in range(2):
            assert place(*space) == taken
            (tmp_path / "sweeps" / taken).mkdir(parents=True, exist_ok=True)
            write_yaml(tmp_path / "sweeps" / taken / "sweep.yaml", {"space": read_space({}, space).described(), "fixed": []})
    assert place("a=1,2", "name=mine", name="mine") == "mine"
    about = {"space": read_space({}, ["a=1,2"]).described(), "fixed": ["name=mine"]}
    write_yaml(tmp_path / "sweeps" / "mix_easy_hard" / "sweep.yaml", about)  # of a version that did not heed it
    assert place("a=1,2", "name=mine", name="mine") == "mix_easy_hard"


def test_a_sweep_s_keys_are_not_lost_in_one_run(tmp_path):
    result = command("+experiment=mix_easy_hard", "sweep.n_trials=3", cwd=tmp_path)
    assert result.returncode == 2 and "sweep.n_trials=3: it says how a sweep is run" in result.stderr and "give -m" in result.stderr


def test_one_run_lies_where_hydra_s_words_say(tmp_path):
    result = command("+experiment=mix_easy_hard", *TINY, "hydra.run.dir=here/${seed}", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    assert read_summary(tmp_path / "here" / "42")["status"] == "complete" and not (tmp_path / "outputs" / "mix_easy_hard").exists()


def test_the_best_is_of_those_with_the_most_seeds(tmp_path):
    space = read_space({}, ["seed=1,2", "x=1,2"])
    study = opened(tmp_path, space)
    for x, seed, value in ((1, 1, 0.5), (1, 2, 0.5), (2, 1, 0.9), (2, 2, None)):
        study.enqueue_trial({"x": x, "seed": seed})
        study.tell(study.ask(space.distributions), value, state=TrialState.FAIL if value is None else TrialState.COMPLETE)
    write_yaml(tmp_path / "sweep.yaml", {"study": "study", "objectives": {"o": "maximize"}, "fixed": [], "space": {}})
    write_results(tmp_path, study, ["o"], space, Spending(), None)
    (named,) = yaml.safe_load((tmp_path / "best.yaml").read_text())
    assert named["trial"] == read_sweep(tmp_path).best.number == 0


@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_a_search_of_steps_goes_on_as_the_grid_of_them(sampler, tmp_path):
    space = read_space({}, ["x=range(0.1,1.0,0.1)"])  # of which Optuna draws 0.30000000000000004
    study = told(tmp_path, space, 5, sampler)
    told(tmp_path, space, 9, "grid", study=study)
    assert sorted(trial.params["x"] for trial in study.trials) == [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        (("hydra.sweep.subdir=of_${seed}",), "hydra.sweep.subdir: of_42 would be the folder of trials that differ in lr.peak"),
        (("sweep.seeds=2",), "have 1 each, not 2; give sweep.seeds=1"),
    ],
)
def test_what_would_mix_trials_up_is_refused_before_the_first(given, fault, tmp_path):
    folder = tmp_path / "outputs" / "sweeps" / "mix_easy_hard"
    folder.mkdir(parents=True)
    (folder / "sweep.yaml").write_text("{sweep: {seeds: 1}, space: {lr.peak: 'one of 0.0001, 0.001'}}")
    result = swept(tmp_path, "lr.peak=1e-4,1e-3", *given)
    assert result.returncode == 2 and fault in result.stderr and len(result.stderr.splitlines()) == 1
    assert [path.name for path in folder.iterdir()] == ["sweep.yaml"]


def test_hydra_s_own_words_are_heeded(tmp_path):
    given = ("seed=1,2", "lr.peak=1e-4,1e-3", "name=first", "hydra.sweep.dir=here", "hydra.sweep.subdir=${hydra.job.num}_${seed}")
    result = swept(tmp_path, *given)
    assert result.returncode == 0, result.stderr
    here = tmp_path / "here"
    runs = {path.parent.name: read_summary(path.parent) for path in here.glob("*/summary.json")}
    assert sorted(runs) == ["0_1", "1_1", "2_2", "3_2"]
    assert {run["status"] for run in runs.values()} == {"complete"}
    summary = yaml.safe_load((here / "summary.yaml").read_text())
    assert "the mean over seeds 1, 2" in result.stdout
    assert summary["study"] == "first" and summary["trials"] == {"complete": 4} and summary["best"][0]["seeds"] == [1, 2]
    sweep = read_sweep(here)
    assert [trial.seeds for trial in sweep.trials] == [2, 2] and not (tmp_path / "outputs" / "sweeps").exists()
