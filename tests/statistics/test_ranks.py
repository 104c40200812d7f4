"""How well one ranking agrees with another, against values worked out by hand."""

import math

import pytest

from src.statistics import rank_correlation


def test_the_correlation_of_ranks_and_its_interval():
    found = rank_correlation([1, 2, 3, 4, 5], [20, 10, 40, 30, 50])  # two pairs of neighbours change places: 1 - 6 x 4 / 120
    half = 1.96 * math.sqrt((1 + 0.8**2 / 2) / 2)
    bounds = [math.tanh(math.atanh(0.8) + sign * half) for sign in (-1, 1)]
    assert [found.mean, found.low, found.high] == pytest.approx([0.8, *bounds], abs=1e-4)


def test_a_few_that_agree_are_no_certainty():
    five, twenty = (rank_correlation(range(n), range(n)) for n in (5, 20))
    assert [five.mean, twenty.mean] == pytest.approx([1, 1]) and five.low < 0.3 and 0.99 < twenty.low < 1
    assert rank_correlation(range(5), range(5, 0, -1)).mean == pytest.approx(-1)


def test_ranks_that_say_nothing():
    assert rank_correlation([1, 2, 3], [1, 2, 3]) is None and rank_correlation([1, 1, 1, 1], [1, 2, 3, 4]) is None
