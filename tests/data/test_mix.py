"""Mixes: counts worked out by hand, the same draw for the same seed, and the walk through the problems."""

import random
from collections import Counter
from fractions import Fraction
from itertools import pairwise
from pathlib import Path

import pytest
from conftest import ROOT
from hydra import compose, initialize_config_dir
from omegaconf import OmegaConf
from pydantic import ValidationError

from src.common.errors import UserError
from src.common.types import Problem
from src.data.mix import ORDERS, MixConfig, apportion, draw_mix, roles_needed, shares

CONF = ROOT / "conf"
OPTIONS = sorted(path.stem for path in (CONF / "mix").glob("*.yaml"))


def config(**settings) -> MixConfig:
    defaults = {"weights": {"core": 1}, "easy_share": None, "size": None, "order": "shuffled", "repeats": 1}
    return MixConfig.model_validate(defaults | settings)


def compose_mix(folder: Path, *overrides: str) -> MixConfig:
    (folder / "primary.yaml").write_text(
        f"defaults: [mix: easy_hard, _self_]\nhydra: {{searchpath: ['file://{CONF}']}}\nscale: {{mix_size: 7000}}\n",
        encoding="utf-8",
    )
    with initialize_config_dir(str(folder), version_base="1.3"):
        tree = compose("primary", list(overrides))
    return MixConfig.model_validate(OmegaConf.to_container(tree.mix, resolve=True))


def pool(role: str, count: int, pass_rates: tuple[float | None, ...] = (None,)) -> list[Problem]:
    """`count` problems named role-0, role-1, ... whose pass rates repeat the ones given."""
    level = "easy" if role == "easy" else "hard"
    return [
        Problem(f"{role}-{n}", f"{role} question {n}", str(n), level, pass_rates[n % len(pass_rates)], role)
        for n in range(count)
    ]


def pools(**counts: int) -> dict[str, list[Problem]]:
    return {role: pool(role, count) for role, count in counts.items()}


def ids(problems) -> list[str]:
    return [problem.id for problem in problems]


@pytest.mark.parametrize(
    ("weights", "total", "expected"),
    [
        ({"core": 3, "broad": 3, "easy": 1}, 7000, {"core": 3000, "broad": 3000, "easy": 1000}),
        ({"core": 3, "broad": 3, "easy": 1}, 1400, {"core": 600, "broad": 600, "easy": 200}),
        # Quotas 4.286, 4.286, 1.429: the one left over goes to the largest remainder.
        ({"core": 3, "broad": 3, "easy": 1}, 10, {"core": 4, "broad": 4, "easy": 2}),
        # Quotas 3.333 each: a tie, which goes by name.
        ({"core": 1, "broad": 1, "easy": 1}, 10, {"core": 3, "broad": 4, "easy": 3}),
        # 0.1 + 0.2 is not 0.3 in floating point; as decimals the quotas are whole.
        ({"core": 0.1, "broad": 0.2, "easy": 0.7}, 10, {"core": 1, "broad": 2, "easy": 7}),
        ({"core": 1, "easy": 1000}, 1, {"core": 0, "easy": 1}),
    ],
)
def test_apportion(weights, total, expected):
    assert apportion(weights, total) == expected


def test_apportion_does_not_depend_on_the_order_of_the_weights():
    assert apportion({"easy": 1, "broad": 1, "core": 1}, 10) == apportion({"core": 1, "broad": 1, "easy": 1}, 10)


@pytest.mark.parametrize(
    ("weights", "easy_share", "expected"),
    [
        ({"core": 3, "broad": 3, "easy": 1}, None, {"core": "3/7", "broad": "3/7", "easy": "1/7"}),
        ({"core": 3, "broad": 3, "easy": 1}, 0.5, {"core": "1/4", "broad": "1/4", "easy": "1/2"}),
        ({"core": 3, "broad": 1, "easy": 5}, 0.2, {"core": "3/5", "broad": "1/5", "easy": "1/5"}),
        ({"core": 3, "broad": 3, "easy": 1}, 0, {"core": "1/2", "broad": "1/2"}),
        ({"core": 3, "broad": 3, "easy": 1}, 1, {"easy": "1"}),
        ({"easy": 1}, 0.4, {"core": "3/10", "broad": "3/10", "easy": "2/5"}),  # no others: core and broad equally
        ({"core": 1, "easy": 0}, None, {"core": "1"}),
    ],
)
def test_easy_share_moves_the_easy_part_and_keeps_the_proportion_of_the_others(weights, easy_share, expected):
    mix = config(weights=weights, easy_share=easy_share)
    assert shares(mix) == {role: Fraction(part) for role, part in expected.items()}
    assert roles_needed(mix) == set(expected)


@pytest.mark.parametrize(
    ("name", "counts"),
    [
        ("all", {"core": 18_000, "broad": 20_000, "easy": 19_000, "released": 7000}),
        ("hard_only", {"core": 18_000}),
        ("easy_hard", {"core": 3000, "broad": 3000, "easy": 1000}),  # Open-RS experiment 2
        ("easy_only", {"easy": 7000}),
        ("balanced", {"core": 1750, "broad": 1750, "easy": 3500}),
        ("open_rs_released", {"released": 7000}),
        ("scaling", {"core": 3500, "easy": 3500}),
        ("data_reuse", {"core": 3500, "easy": 3500}),
    ],
)
def test_shipped_mixes_at_the_published_size(tmp_path, name, counts):
    mix = draw_mix(
        compose_mix(tmp_path, f"mix={name}"), pools(core=18_000, broad=20_000, easy=19_000, released=7000), 42
    )
    assert mix.counts == counts
    assert Counter(problem.source for problem in mix.problems) == counts
    assert mix.size == len(set(ids(mix.problems))) == sum(counts.values())


def test_every_shipped_mix_is_tested():
    assert OPTIONS == [
        "all", "balanced", "data_reuse", "easy_hard", "easy_only", "hard_only", "open_rs_released", "scaling",
    ]


def test_options_from_the_command_line(tmp_path):
    mix = compose_mix(tmp_path, "mix.easy_share=0.3", "mix.size=1000", "mix.order=easy_first", "mix.repeats=5")
    drawn = draw_mix(mix, pools(core=100, broad=100, easy=100), 0)
    assert drawn.counts == {"core": 70, "broad": 70, "easy": 60}  # 1,000 / 5 problems, 30 % of them easy
    assert drawn.report() == {
        "problems": 200,
        "by_role": {"core": 70, "broad": 70, "easy": 60},
        "by_level": {"easy": 60, "hard": 140},
        "repeats": 5,
        "size": 1000,
        "order": "easy_first",
    }


def test_no_size_takes_all_that_the_scarcest_pool_allows():
    # Core is the scarcest: 10 / (3/7) = 23.3, so 23 problems: quotas 9.86, 9.86, 3.29.
    mix = draw_mix(config(weights={"core": 3, "broad": 3, "easy": 1}), pools(core=10, broad=50, easy=50), 0)
    assert mix.counts == {"core": 10, "broad": 10, "easy": 3}
    # With each used twice the problems are the same, and the walk is twice as long.
    twice = draw_mix(
        config(weights={"core": 3, "broad": 3, "easy": 1}, repeats=2), pools(core=10, broad=50, easy=50), 0
    )
    assert twice.problems == mix.problems
    assert twice.size == 46


def test_same_seed_same_mix_other_seed_other_mix():
    available = pools(core=50, easy=50)
    first, again, other = (
        draw_mix(config(weights={"core": 1, "easy": 1}, size=20), available, seed) for seed in (1, 1, 2)
    )
    assert first == again
    assert first.presentations(50) == again.presentations(50)
    assert set(ids(first.problems)) != set(ids(other.problems))


def test_draw_does_not_depend_on_the_order_of_a_pool_and_loses_only_what_the_pool_loses():
    available = pool("core", 50)
    drawn = draw_mix(config(size=20), {"core": available}, 7)
    assert draw_mix(config(size=20), {"core": available[::-1]}, 7) == drawn
    without = draw_mix(config(size=20), {"core": [p for p in available if p != drawn.problems[0]]}, 7)
    assert set(drawn.problems) - set(without.problems) == {drawn.problems[0]}


def test_smaller_draws_are_part_of_larger_ones():
    available = pools(core=60, easy=60)
    draws = [
        set(draw_mix(config(weights={"core": 2, "easy": 1}, size=60, repeats=repeats), available, 3).problems)
        for repeats in (1, 2, 4, 10)
    ]
    assert [len(draw) for draw in draws] == [60, 30, 15, 6]
    assert all(smaller < larger for larger, smaller in pairwise(draws))


@pytest.mark.parametrize("order", ORDERS)
def test_each_problem_is_used_exactly_tau_times_in_a_walk(order):
    mix = draw_mix(config(size=60, repeats=3, order=order), pools(core=20), 5)
    walk = mix.presentations(60)
    assert set(Counter(ids(walk)).values()) == {3}
    assert [mix.epoch(position) for position in (0, 19, 20, 40, 59, 60)] == [0, 0, 1, 2, 2, 3]
    for epoch in range(3):
        assert set(walk[epoch * 20 : epoch * 20 + 20]) == set(mix.problems)


def test_shuffled_has_another_order_in_each_epoch_and_goes_on_after_the_walk():
    mix = draw_mix(config(size=20), pools(core=20), 5)
    long = mix.presentations(50)
    assert len(long) == 50
    assert long[:20] != long[20:40]
    assert set(long[:20]) == set(long[20:40]) == set(mix.problems)
    assert mix.presentations(7) == long[:7]


def test_easy_first_sorts_by_level_then_by_pass_rate_in_the_same_order_each_epoch():
    available = {"core": pool("core", 4, (0.2, 0.9, None, 0.5)), "easy": pool("easy", 3, (0.7, 1.0, 0.8))}
    mix = draw_mix(config(weights={"core": 4, "easy": 3}, order="easy_first"), available, 0)
    expected = ["easy-1", "easy-2", "easy-0", "core-1", "core-3", "core-0", "core-2"]
    assert ids(mix.presentations(14)) == expected * 2
    reverse = draw_mix(config(weights={"core": 4, "easy": 3}, order="hard_first"), available, 0)
    assert ids(reverse.presentations(7)) == expected[::-1]


def test_ties_in_difficulty_are_broken_at_random_by_the_seed():
    orders = {
        tuple(ids(draw_mix(config(order="easy_first"), pools(core=10), seed).presentations(10))) for seed in range(5)
    }
    assert len(orders) == 5


def test_a_problem_in_two_pools_is_drawn_once():
    shared = pool("core", 6)
    available = {"core": shared, "broad": shared[:4] + pool("broad", 2)}
    mix = draw_mix(config(weights={"core": 3, "broad": 1}), available, 0)
    assert mix.counts == {"core": 6, "broad": 2}  # broad has only its own two left
    assert len(set(ids(mix.problems))) == 8


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"weights": {"core": -1}}, "the weight of core must be 0 or more, not -1"),
        ({"weights": {"core": float("nan")}}, "Input should be a finite number"),
        ({"weights": {"core": 0, "easy": 0}}, "all are 0; give at least one role a weight above 0"),
        ({"weights": {"boad": 1}}, "no role is called boad; did you mean broad?"),
        ({"easy_share": 1.4}, "less than or equal to 1"),
        ({"easy_share": -0.1}, "greater than or equal to 0"),
        ({"size": 0}, "greater than or equal to 1"),
        ({"repeats": 0}, "greater than or equal to 1"),
        ({"order": "sorted"}, "'shuffled', 'easy_first' or 'hard_first'"),
        ({"wieghts": {}}, "Extra inputs are not permitted"),
    ],
)
def test_unusable_settings(settings, message):
    with pytest.raises(ValidationError, match=message.replace("?", r"\?")):
        config(**settings)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"weights": {"released": 1}},
            "mix: there are no problems for the role released, only for broad, core, easy; choose another mix",
        ),
        (
            {"size": 12},
            "mix: 12 problems asked for from the role core, which has 10; use mix.size=10 at most or mix.repeats=2",
        ),
        (
            {"weights": {"core": 3, "broad": 3, "easy": 1}, "size": 70, "repeats": 2},
            "mix: 15 problems asked for from the role core, which has 10; use mix.size=46 at most or mix.repeats=5",
        ),
        ({"size": 7000, "repeats": 3}, "mix.size: 7000 is not a multiple of mix.repeats=3; use 6999 or 7002"),
        ({"size": 2, "repeats": 3}, "mix.size: 2 is not a multiple of mix.repeats=3; use 3"),
    ],
)
def test_mixes_that_the_pools_do_not_allow(settings, message):
    with pytest.raises(UserError) as error:
        draw_mix(config(**settings), pools(core=10, broad=20, easy=20), 0)
    assert str(error.value) == message


def test_the_remedies_named_in_the_error_work():
    available = pools(core=10, broad=20, easy=20)
    settings = {"weights": {"core": 3, "broad": 3, "easy": 1}}
    assert len(draw_mix(config(**settings, size=46, repeats=2), available, 0).problems) == 23
    assert draw_mix(config(**settings, size=70, repeats=5), available, 0).size == 70


def rated(count):
    """Problems of rising pass rate, in no order."""
    made = [Problem(f"p{n}", f"q{n}", "1", "hard", n / count, "core") for n in range(count)]
    random.Random(1).shuffle(made)
    return {"core": made}


def test_a_stratified_draw_is_spread_over_the_difficulty_and_still_part_of_larger_ones():
    config = MixConfig(weights={"core": 1}, easy_share=None, size=100, order="easy_first", repeats=1, stratified=True)
    drawn = {
        tau: draw_mix(config.model_copy(update={"repeats": tau}), rated(400), 0).problems for tau in (1, 5, 25)
    }
    for problems in drawn.values():
        rates = sorted(problem.pass_rate for problem in problems)
        even = [(place + 0.5) / len(rates) for place in range(len(rates))]
        assert max(abs(rate - wanted) for rate, wanted in zip(rates, even, strict=True)) < 2 / len(rates)
    assert set(drawn[25]) < set(drawn[5]) < set(drawn[1])


def test_independent_subsets_are_not_parts_of_each_other():
    config = MixConfig(weights={"core": 1}, easy_share=None, size=100, order="shuffled", repeats=1, subsets="independent")
    large, small = (set(draw_mix(config.model_copy(update={"repeats": tau}), rated(400), 0).problems) for tau in (1, 2))
    assert len(small) == 50 and not small <= large
    again = draw_mix(config.model_copy(update={"repeats": 2}), rated(400), 0).problems
    assert set(again) == small
