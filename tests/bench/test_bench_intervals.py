"""Intervals hold what they promise, and tests of many things are corrected."""

from __future__ import annotations

import math
import random
from itertools import pairwise

import pytest

from llmgate.bench.intervals import Estimate, effective, holm, mcnemar, mean, ratio, student, wilson


def coverage(draw, truth, runs=1500):
    inside = 0
    for _ in range(runs):
        found = draw()
        inside += found.low <= truth <= found.high
    return inside / runs


@pytest.mark.parametrize("n", [20, 60, 250])
@pytest.mark.parametrize("share", [0.05, 0.5, 0.8, 0.97])
def test_wilsons_interval_holds_the_share_in_95_of_100_runs(n, share):
    luck = random.Random(n * 1000 + share)
    found = coverage(lambda: wilson(sum(luck.random() < share for _ in range(n)), n), share)
    assert 0.915 <= found <= 0.99


def test_wilsons_interval_agrees_with_published_numbers():
    # Newcombe 1998, table I, method 3: 81/263, 15/148, 0/20, 1/29.
    for right, n, low, high in [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ]:
        found = wilson(right, n)
        assert (round(found.low, 4), round(found.high, 4)) == (low, high)


def test_a_share_of_nothing_is_unknown():
    assert wilson(0, 0) == Estimate()


def test_samples_that_are_all_alike_count_once_for_a_case():
    assert effective([(5, 5), (0, 5), (5, 5), (5, 5)]) == 4
    assert effective([(5, 5)] * 7) == 7


def test_samples_that_are_independent_count_nearly_all():
    luck = random.Random(8)
    clusters = [(sum(luck.random() < 0.5 for _ in range(5)), 5) for _ in range(400)]
    assert 1700 < effective(clusters) <= 2000


def test_single_samples_count_each():
    assert effective([(1, 1), (0, 1), (1, 1)]) == 3


def test_the_interval_holds_where_samples_of_a_case_are_alike():
    luck = random.Random(21)

    def draw():
        clusters = []
        for _ in range(40):
            share = luck.choice((0.95, 0.5))
            clusters.append((sum(luck.random() < share for _ in range(5)), 5))
        return wilson(sum(k for k, _ in clusters), 200, effective(clusters))

    assert 0.92 <= coverage(draw, 0.725) <= 0.985


@pytest.mark.parametrize(
    ("freedom", "point"),
    # Printed tables of Student's distribution.
    [(1, 12.7062), (2, 4.3027), (5, 2.5706), (10, 2.2281), (30, 2.0423), (120, 1.9799)],
)
def test_students_points_agree_with_the_tables(freedom, point):
    assert student(freedom) == pytest.approx(point, abs=5e-5)


def test_students_points_go_on_smoothly_where_the_formula_changes():
    points = [student(freedom) for freedom in range(190, 215)]
    steps = [a - b for a, b in pairwise(points)]
    assert all(0 < step < 1e-4 for step in steps)
    assert max(steps) / min(steps) < 1.4


@pytest.mark.parametrize("n", [3, 12, 80])
def test_the_interval_of_a_mean_holds_it_in_95_of_100_runs(n):
    luck = random.Random(n)
    found = coverage(lambda: mean([luck.gauss(7, 2) for _ in range(n)]), 7.0)
    assert 0.93 <= found <= 0.97


def test_the_interval_of_a_rate_holds_it():
    luck = random.Random(5)

    def draw():
        pairs = []
        for _ in range(40):
            seconds = luck.uniform(0.2, 4)
            pairs.append((seconds * 30 + luck.gauss(0, 3), seconds))
        return ratio(pairs)

    assert 0.93 <= coverage(draw, 30.0) <= 0.97


def test_a_rate_weighs_long_answers_more():
    assert ratio([(10, 1), (90, 1.0), (100, 8)]).value == 20


def test_single_values_have_no_interval():
    assert mean([3.0]) == Estimate(3.0, n=1)
    assert ratio([(3.0, 2.0)]) == Estimate(1.5, n=1)
    assert mean([]) == ratio([]) == ratio([(1.0, 0.0)]) == Estimate()


def test_order_makes_no_difference_to_the_last_bit():
    luck = random.Random(1)
    values = [luck.random() for _ in range(200)]
    pairs = [(luck.random(), luck.random()) for _ in range(200)]
    before = mean(values), ratio(pairs)
    luck.shuffle(values)
    luck.shuffle(pairs)
    assert (mean(values), ratio(pairs)) == before


def test_mcnemars_p_is_that_of_the_fair_coin():
    assert mcnemar(0, 0) == mcnemar(4, 4) == 1.0
    assert mcnemar(0, 5) == mcnemar(5, 0) == 2 / 32
    assert mcnemar(1, 9) == pytest.approx(2 * (1 + 10) / 1024)
    # 2 (1 + 15 + 105) / 2^15
    assert mcnemar(13, 2) == pytest.approx(242 / 32768)


def test_mcnemars_p_of_many_cases_is_a_number():
    assert 0.0 <= mcnemar(6000, 1000) < 1e-300
    assert mcnemar(5000, 5001) == 1.0
    # Close to the normal distribution's with a correction: z = (5200 - 4800 - 1) / 100
    normal = math.erfc(3.99 / math.sqrt(2))
    assert mcnemar(5200, 4800) == pytest.approx(normal, rel=0.02)


def test_mcnemar_says_apart_in_no_more_than_5_of_100_runs_of_equals():
    luck = random.Random(3)
    wrong = 0
    for _ in range(2000):
        n = luck.randint(5, 60)
        better = sum(luck.random() < 0.5 for _ in range(n))
        wrong += mcnemar(better, n - better) < 0.05
    assert wrong / 2000 <= 0.05


def test_holms_correction_agrees_with_numbers_worked_by_hand():
    # Sorted 0.005 0.01 0.03 0.04, times 4 3 2 1, and never less than the one before.
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    # 0.01 x 3; 0.02 x 2 = 0.04; 0.022 x 1 is raised to 0.04.
    assert holm([0.01, 0.02, 0.022]) == pytest.approx([0.03, 0.04, 0.04])
    assert holm([0.6, 0.5]) == [1.0, 1.0]
    assert holm([]) == []


def test_holms_correction_for_more_tests_than_are_given_is_never_weaker():
    luck = random.Random(9)
    every = [luck.random() ** 4 for _ in range(30)]
    all_corrected = holm(every)
    for count in (1, 5, 29):
        some = holm(every[:count], of=30)
        assert all(a >= b - 1e-12 for a, b in zip(some, all_corrected, strict=False))


def test_holm_finds_something_among_nothing_in_no_more_than_5_of_100_runs():
    luck = random.Random(4)
    found = sum(min(holm([luck.random() for _ in range(20)])) < 0.05 for _ in range(2000))
    assert 0.03 <= found / 2000 <= 0.065


def test_intervals_that_are_not_known_overlap_all():
    assert Estimate(1, 0, 2).overlaps(Estimate(9))
    assert Estimate(1, 0, 2).overlaps(Estimate(2, 2, 3))
    assert not Estimate(1, 0, 2).overlaps(Estimate(3, 2.5, 3.5))
