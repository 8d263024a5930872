"""The table at the end of 17.2.5 tells the truth: what each pattern buys and costs in the opening incident."""

from __future__ import annotations

import dataclasses
import functools
import xml.etree.ElementTree as ElementTree

import pytest

from shared.widgets import composed_simulation
from shared.widgets.composed_figures import composed_figure
from shared.widgets.composed_simulation import (
    BURST,
    CALM,
    CONNECTIONS,
    FOUR,
    LONG,
    OUTCOMES,
    PEAK,
    QUERY,
    SECONDS,
    TRY,
    VARIANTS,
    Replay,
    print_table,
    replay,
)

QUIET_AFTER = 18.0
"""From here on no variant with a timeout has anything left of the burst."""


@functools.cache
def run(variant: str, seed: int = 1) -> Replay:
    return replay(VARIANTS[variant], seed)


def live(variant: str, seed: int = 1) -> float:
    return run(variant, seed).share("live")


def queries_per_request(variant: str) -> float:
    return run(variant).queries / len(run(variant).visits)


def test_the_story_is_the_same_every_time() -> None:
    assert replay(FOUR) == run("all four")


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_meets_the_same_requests_and_each_ends_in_one_way(variant: str) -> None:
    assert [visit.came for visit in run(variant).visits] == [visit.came for visit in run("as it was").visits]
    assert sum(run(variant).share(outcome) for outcome in OUTCOMES) == pytest.approx(1.0)
    assert sum(sum(column.values()) for column in run(variant).columns()) == len(run(variant).visits)


def test_eight_times_as_many_come_during_the_burst() -> None:
    came = [visit.came for visit in run("as it was").visits]
    during = sum(BURST[0] < each <= BURST[1] for each in came)
    assert PEAK == 8 * CALM
    assert during == pytest.approx(PEAK * (BURST[1] - BURST[0]), rel=0.1)
    assert len(came) - during == pytest.approx(CALM * (SECONDS - BURST[1] + BURST[0]), rel=0.15)


@pytest.mark.parametrize("seed", [1, 2])
def test_as_it_was_two_thirds_come_too_late_and_the_error_rate_reads_zero(seed: int) -> None:
    incident = run("as it was", seed)
    assert 7.0 < incident.p99 < LONG
    assert incident.share("late") > 0.65
    assert f"{incident.share('failed'):.0%}" == "0%"
    assert max(visit.took for visit in incident.visits) < LONG, "no request reached its timeout of 10 s"


def test_the_fallback_turns_every_error_into_an_answer_and_changes_nothing_else() -> None:
    with_it, without = run("all four"), run("without fallback")
    assert [visit.took for visit in with_it.visits] == [visit.took for visit in without.visits]
    assert with_it.share("failed") == without.share("fallback") == 0
    assert with_it.share("fallback") == without.share("failed") > 0.5


@pytest.mark.parametrize("seed", [1, 2])
def test_without_the_breaker_retries_multiply_the_load_and_live_answers_get_fewer(seed: int) -> None:
    assert run("without breaker", seed).queries > 3 * run("all four", seed).queries
    assert live("without breaker", seed) < live("all four", seed) - 0.1
    assert run("without breaker", seed).p99 > 2 * run("all four", seed).p99


def test_a_request_whose_whole_time_is_up_between_its_tries_is_still_answered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(composed_simulation, "PATIENCE", 1.0)
    hurried = replay(VARIANTS["without breaker"])
    slowest = max(hurried.visits, key=lambda visit: visit.took)
    assert slowest.took == pytest.approx(1.0)
    assert slowest.outcome == "fallback"
    assert hurried.share("failed") == 0


@pytest.mark.parametrize("seed", [1, 2])
def test_the_timeout_halves_p99_and_pays_with_queries_that_it_cuts(seed: int) -> None:
    with_it, without = run("all four", seed), run("without timeout", seed)
    assert with_it.p99 < 0.6 * without.p99
    assert with_it.share("live") < without.share("live") - 0.1
    cut = [each.queries / len(each.visits) - each.share("live") for each in (with_it, without)]
    assert cut[0] > 0.15 and cut[1] < 0.02


def test_retry_saves_lost_connections_on_a_quiet_night_and_costs_a_little_p99_in_the_burst() -> None:
    lost = dict.fromkeys(("all four", "without retry"), 0)
    for seed in (1, 2, 3):
        for variant in lost:
            quiet = [visit for visit in run(variant, seed).visits if visit.came > QUIET_AFTER]
            lost[variant] += sum(visit.outcome != "live" for visit in quiet)
    assert lost["without retry"] > 0
    assert lost["all four"] == 0
    assert abs(live("all four") - live("without retry")) < 0.01
    assert run("without retry").p99 == pytest.approx(TRY)
    assert run("all four").p99 == pytest.approx(TRY + 0.1, abs=0.02)


@pytest.mark.parametrize("seed", [1, 2])
def test_the_bulkhead_uses_the_pool_to_the_full_and_nobody_waits(seed: int) -> None:
    start, end = BURST
    able = (CALM * (SECONDS - end + start) + CONNECTIONS / QUERY * (end - start)) / len(run("all four", seed).visits)
    assert live("with a bulkhead", seed) > 0.95 * able
    assert live("with a bulkhead", seed) == max(live(variant, seed) for variant in VARIANTS)
    assert run("with a bulkhead", seed).p99 == min(run(variant, seed).p99 for variant in VARIANTS) < 3.5 * QUERY


def test_a_breaker_that_counts_refusals_takes_back_what_the_bulkhead_gave(monkeypatch: pytest.MonkeyPatch) -> None:
    ignoring = live("with a bulkhead")
    monkeypatch.setattr(composed_simulation, "BREAKER", dataclasses.replace(composed_simulation.BREAKER, ignored=()))
    assert replay(VARIANTS["with a bulkhead"]).share("live") < ignoring - 0.2


def test_the_table_has_a_row_for_each_variant_whose_shares_add_up(capsys: pytest.CaptureFixture[str]) -> None:
    print_table()
    heading, *rows = capsys.readouterr().out.splitlines()
    assert heading.split()[:5] == ["p99", *OUTCOMES]
    assert [row[:18].rstrip() for row in rows] == list(VARIANTS)
    for row in rows:
        shares = [float(cell.rstrip("%")) for cell in row.split() if cell.endswith("%")]
        assert sum(shares) == pytest.approx(100.0, abs=0.15)
        assert float(row.split()[-1]) == pytest.approx(queries_per_request(row[:18].rstrip()), abs=0.005)


def test_an_unknown_pattern_is_refused() -> None:
    with pytest.raises(ValueError, match="no pattern prayer: choose from fallback, retry"):
        replay({"retry", "prayer"})


def test_the_figure_is_the_same_bytes_every_time_and_says_in_words_what_it_shows() -> None:
    picture = composed_figure.__wrapped__()
    assert picture.svg == composed_figure.__wrapped__().svg
    assert (ElementTree.fromstring(picture.svg).get("aria-label")) == picture.alt
    assert f"As it was: p99 {run('as it was').p99:.2f} s" in picture.alt
    assert "prefers-color-scheme: dark" in picture.svg
