"""Sweep expressions to distributions, and back to command lines."""

from dataclasses import replace

import pytest
from optuna.distributions import CategoricalDistribution as Choice
from optuna.distributions import FloatDistribution as Float
from optuna.distributions import IntDistribution as Int
from test_sweep import prepared
from test_sweep_parts import SPACE

from src.common.errors import UserError
from src.sweep.config import parse_sweep
from src.sweep.results import rerun_command
from src.sweep.samplers import check_sampler
from src.sweep.space import read_space


@pytest.mark.parametrize(
    ("expression", "expected"),
    [
        ("interval(0,1)", Float(0.0, 1.0)),
        ("interval(-5.5,5.5)", Float(-5.5, 5.5)),
        ("int(interval(1,8))", Int(1, 8)),
        ("tag(log,interval(1e-5,1e-3))", Float(1e-5, 1e-3, log=True)),
        ("tag(log,int(interval(1,100)))", Int(1, 100, log=True)),
        ("range(1,4)", Int(1, 3)),  # Hydra's end is left out
        ("range(1,10,3)", Int(1, 7, step=3)),
        ("range(4)", Int(0, 3)),
        ("range(0,1,0.25)", Float(0.0, 0.75, step=0.25)),
        ("range(5,0,-2)", Int(1, 5, step=2)),
        ("choice(a,b)", Choice(["a", "b"])),
        ("fixed,staged,adaptive", Choice(["fixed", "staged", "adaptive"])),
        ("3,2.5,true,null", Choice([3, 2.5, True, "null"])),
        ("int(choice(1.0,2.0))", Choice([1, 2])),
        ("1e-4,0.0001,1e-3", Choice([1e-4, 1e-3])),  # one point, however it is written
    ],
)
def test_expressions(expression, expected):
    space = read_space({}, [f"key={expression}"])
    assert space.distributions == {"key": expected} and space.fixed == ()


@pytest.mark.parametrize("expression", ["shuffle(range(1,9))", "shuffle(1,2,3,4,5,6,7,8)", "sort(shuffle(8,7,6,5,4,3,2,1))"])
def test_a_shuffled_space_is_the_same_one_each_time(expression):
    for _ in range(3):
        assert read_space({}, [f"key={expression}"]).distributions == {"key": Choice([1, 2, 3, 4, 5, 6, 7, 8])}


@pytest.mark.parametrize(
    ("expression", "end"),
    [("range(-5.5,5.5,step=0.5)", "5.5"), ("range(1,3)", "3"), ("range(5,1,-2)", "1"), ("range(1,10,2)", None),
     ("range(0,1,0.3)", None), ("interval(0,1)", None), ("1,2", None)],
)  # fmt: skip
def test_an_end_that_is_left_out_is_said(expression, end):
    notes = read_space({}, [f"x={expression}"]).notes
    assert notes == () if end is None else f"x: {expression} does not try {end}: " in notes[0]
    assert read_space({}, [f"x={expression}", "x=1"]).notes == ()


def test_a_glob_is_the_options_that_match():
    _, loader, *_ = prepared()
    assert read_space({}, ["length=glob(*)"], loader).distributions == {"length": Choice(loader.get_group_options("length"))}
    some = read_space({}, ["lr=glob(co*,exclude=cosine_*)"], loader).distributions["lr"]
    assert "cosine" in some.choices and "constant" in some.choices and "cosine_min" not in some.choices
    for expression in ("length=glob(zz*)", "lr.peak=glob(*)"):
        with pytest.raises(UserError, match="pattern that an option matches"):
            read_space({}, [expression], loader)


@pytest.mark.parametrize(
    ("expression", "fault"),
    [
        ("interval(1,0)", "reversed"),
        ("tag(log,interval(0,1))", "above 0"),
        ("range(3,3)", "empty or reversed"),
        ("range(3,1)", "empty or reversed"),
        ("interval(1,", "sweep:"),
        ("true,1", "true and 1 are one value to Optuna"),
        ("choice(0.5,1,1.0)", "1 and 1.0 are one value"),
    ],
)
def test_ranges_that_are_none(expression, fault):
    with pytest.raises(UserError, match=fault):
        read_space({}, [f"key={expression}"])


def test_the_command_line_takes_the_place_of_params():
    params = {"a": "interval(0,1)", "b": "1,2", "trainer.weight_decay": "choice(0.0,0.1)", "c": 3}
    space = read_space(params, ["a=0.5", "b=range(3)", "+experiment=mix_easy_hard", "~evaluation.suites.chains"])
    assert set(space.distributions) == {"b", "trainer.weight_decay"}
    assert space.distributions["b"] == Int(0, 2)
    line = space.overrides({"b": 2, "trainer.weight_decay": 0.1})
    assert line == [
        "c=3", "a=0.5", "+experiment=mix_easy_hard", "~evaluation.suites.chains", "b=2", "++trainer.weight_decay=0.1"
    ]


def test_values_are_written_as_hydra_reads_them():
    space = read_space({}, ["a=null,true", "b=tag(log,interval(1e-7,1e-5))", "+sweep=lr"])
    line = space.overrides({"a": None, "b": 1e-06})
    assert line == ["+sweep=lr", "a=null", "b=1e-06"]
    assert space.overrides({"a": True})[-1] == "a=true"
    found = replace(space, options=("--config-dir=/a b", "hydra.searchpath=[x]"), fixed=("+sweep=lr", "trainer.hub_token=hf_SECRET"))
    assert rerun_command(found, {}) == "python -m src.run '--config-dir=/a b' 'hydra.searchpath=[x]' +sweep=lr hydra.mode=RUN"
    assert rerun_command(space, {"a": None}) == "python -m src.run +sweep=lr hydra.mode=RUN a=null"


def test_points_of_a_grid():
    space = read_space({}, ["a=range(0,1,0.25)", "b=x,y", "c=range(1,10,3)"])
    assert space.points() == {"a": [0.0, 0.25, 0.5, 0.75], "b": ["x", "y"], "c": [1, 4, 7]}
    with pytest.raises(UserError, match="a: a grid needs a finite set"):
        read_space({}, ["a=interval(0,1)"]).points()


def test_a_config_written_for_hydra_optuna_sweeper_is_understood():
    sweep = parse_sweep({
        "sampler": {"_target_": "optuna.samplers.TPESampler", "seed": 123, "n_startup_trials": 7},
        "direction": ["minimize", "maximize"], "storage": None, "study_name": "s", "n_trials": 9, "n_jobs": 3,
        "max_failure_rate": 0.1, "params": {"x": "interval(-5.5, 5.5)", "y": "choice(-5, 0, 5)"},
        "custom_search_space": None,
    })
    assert sweep.sampler == {"name": "tpe", "seed": 123, "n_startup_trials": 7}
    assert read_space(sweep.params, []).distributions == {"x": Float(-5.5, 5.5), "y": Choice([-5, 0, 5])}
    # As it is dumped, with options that nobody set and those that Optuna has no more.
    for target, options in {
        "optuna.samplers.TPESampler": {"consider_prior": None, "n_ei_candidates": 30, "warn_independent_sampling": True},
        "optuna.samplers.QMCSampler": {"warn_independent_sampling": True, "warn_asynchronous_seeding": True},
        "optuna.samplers.CmaEsSampler": {"x0": None, "inc_popsize": -1, "warn_independent_sampling": True},
        "optuna.samplers.GPSampler": {"independent_sampler": None, "warn_independent_sampling": False},
        "hydra_plugins.hydra_optuna_sweeper.config.raise_motpe_removed": {},
    }.items():
        check_sampler(parse_sweep({"sampler": {"_target_": target, "seed": None} | options}).sampler, SPACE, 1)
    assert parse_sweep({"search_space": None}).params == {}
    with pytest.raises(UserError, match=r"sweep.search_space is the form .* before params"):
        parse_sweep({"search_space": {"x": {"type": "float", "low": 0, "high": 1}}})
    nsga = parse_sweep({"sampler": {"_target_": "hydra_plugins.hydra_optuna_sweeper._impl.create_nsgaii_sampler"}})
    assert nsga.sampler == {"name": "nsgaii"}


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        ({"n_jobs": 0}, "sweep.n_jobs: 0 slots can run no trial"),
        ({"n_trails": 3}, "sweep: no key n_trails; did you mean n_trials"),
        ({"budget": {"hour": 3}}, "sweep.budget has no key hour"),
        ({"max_failure_rate": 2}, "sweep.max_failure_rate"),
    ],
)
def test_keys_that_are_none(options, fault):
    with pytest.raises(UserError, match=fault):
        parse_sweep(options)
