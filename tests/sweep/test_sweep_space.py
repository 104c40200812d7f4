"""Sweep expressions to distributions, and back to command lines."""

import pytest
from optuna.distributions import CategoricalDistribution as Choice
from optuna.distributions import FloatDistribution as Float
from optuna.distributions import IntDistribution as Int

from src.common.errors import UserError
from src.sweep.config import parse_sweep
from src.sweep.results import rerun_command
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
        ("1,2.5,true,null", Choice([1, 2.5, True, "null"])),
        ("int(choice(1.0,2.0))", Choice([1, 2])),
    ],
)
def test_expressions(expression, expected):
    space = read_space({}, [f"key={expression}"])
    assert space.distributions == {"key": expected} and space.fixed == ()


def test_shuffling_keeps_the_values():
    for expression in ("shuffle(range(1,5))", "shuffle(1,2,3,4)"):
        distribution = read_space({}, [f"key={expression}"]).distributions["key"]
        assert isinstance(distribution, Choice) and sorted(distribution.choices) == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("expression", "fault"),
    [
        ("interval(1,0)", "reversed"),
        ("tag(log,interval(0,1))", "above 0"),
        ("range(3,3)", "empty or reversed"),
        ("range(3,1)", "empty or reversed"),
        ("interval(1,", "sweep:"),
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
