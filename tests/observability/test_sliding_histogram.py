"""The sliding histogram: quantiles of the last seconds by nearest rank, within 1/64 of a value that was recorded."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.observability.sliding_histogram import LARGEST, RELATIVE_ERROR, SlidingHistogram, quantile


def filled(*values: float, now: float = 0.0) -> SlidingHistogram:
    histogram = SlidingHistogram()
    for value in values:
        histogram.record(value, now)
    return histogram


def test_silence_has_no_quantile() -> None:
    assert SlidingHistogram().quantile(0.99, 0.0) is None
    assert filled(1.0).quantile(0.99, 61.0) is None
    assert quantile([], 0.5, 0.0) is None


@given(
    st.lists(st.floats(1e-7, 1e5), min_size=1, max_size=300),
    st.sampled_from([0.0, 0.07, 0.5, 0.9, 0.99, 0.999, 1.0]),
)
def test_a_quantile_is_the_nearest_rank_within_the_error(values: list[float], q: float) -> None:
    rank = max(1, math.ceil(round(q * len(values), 9)))
    exact = sorted(values)[rank - 1]
    told = filled(*values).quantile(q, 0.0)
    assert told is not None and abs(told - exact) <= RELATIVE_ERROR * exact * (1 + 1e-12)


@pytest.mark.parametrize(("count", "rank"), [(1, 1), (99, 99), (100, 99), (101, 100), (200, 198), (1000, 990)])
def test_p99_is_rank_ceil_of_0_99_n(count: int, rank: int) -> None:
    histogram = filled(*(1e-8 * 1.032**turn for turn in range(count)))
    assert histogram.quantile(0.99, 0.0) == pytest.approx(1e-8 * 1.032 ** (rank - 1), rel=RELATIVE_ERROR)


def test_what_is_too_small_counts_as_0_and_what_is_too_large_as_the_largest() -> None:
    assert filled(0.0, -1.0, 1e-12).quantile(1.0, 0.0) == 0.0
    assert filled(1e9, math.inf).quantile(0.5, 0.0) == LARGEST


@given(
    st.lists(st.tuples(st.floats(0.0, 30.0), st.floats(0.001, 10.0)), min_size=1, max_size=80),
    st.floats(0.0, 200.0),
    st.integers(1, 90),
)
def test_it_holds_what_was_recorded_in_the_window_less_up_to_a_second(
    records: list[tuple[float, float]], later: float, seconds: int
) -> None:
    histogram, now, instants = SlidingHistogram(seconds), 0.0, []
    for pause, value in records:
        now += pause
        histogram.record(value, now)
        instants.append(now)
    now += later
    at_least = sum(each > now - (seconds - 1) for each in instants)
    at_most = sum(each > now - seconds for each in instants)
    assert at_least <= histogram.count(now) <= at_most


def test_a_clock_that_goes_back_loses_nothing() -> None:
    histogram = filled(1.0, now=100.0)
    histogram.record(2.0, 10.0)
    assert histogram.count(100.0) == 2


def test_several_histograms_answer_as_one() -> None:
    parts = [filled(*range(start, 101, 4)) for start in (1, 2, 3, 4)]
    assert quantile(parts, 0.99, 0.0) == filled(*range(1, 101)).quantile(0.99, 0.0)


def test_memory_follows_what_happens() -> None:
    histogram = SlidingHistogram()
    for second in range(1000):
        histogram.record(0.1, float(second))
    assert sum(len(counts) for _, counts in histogram._slots) == 60


@pytest.mark.parametrize("q", [-0.1, 1.1, math.nan])
def test_a_quantile_is_a_fraction(q: float) -> None:
    with pytest.raises(ValueError):
        SlidingHistogram().quantile(q, 0.0)


def test_a_window_has_at_least_one_slot() -> None:
    with pytest.raises(ValueError):
        SlidingHistogram(0)
