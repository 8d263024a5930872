"""The comparison of published breakers is fair: each works behind its adapter, and verdicts are those of its code."""

from __future__ import annotations

import time

import pytest

from graders.comparisons.circuit_breakers import ADAPTERS, as_html, as_text, table
from shared.resilience.contracts import BreakerConfig, CircuitOpen, State

LIBRARIES = [name for name in ADAPTERS if name != "this course"]
CONFIG = BreakerConfig(min_calls_to_open=3, wait_duration=10.0, permitted_calls_in_half_open=1, ignored=(KeyError,))


def fail(error: BaseException) -> None:
    raise error


@pytest.fixture(params=ADAPTERS)
def make(request):
    if request.param in LIBRARIES:
        pytest.importorskip(request.param)
    adapter = ADAPTERS[request.param]

    def breaker():
        return adapter(CONFIG, time.monotonic)

    return breaker


@pytest.fixture(scope="module")
def verdicts():
    for name in LIBRARIES:
        pytest.importorskip(name)
    return {row.library: {verdict.check: verdict for verdict in row.verdicts} for row in table()}


class TestEveryAdapter:
    def test_calls_through_with_arguments(self, make):
        assert make().call(lambda *args, **kwargs: (args, kwargs), 1, fn=2) == ((1,), {"fn": 2})

    def test_opens_after_as_many_failures_as_were_configured_and_then_rejects_without_calling(self, make):
        breaker, error, calls = make(), OSError("mine"), []
        for _ in range(2):
            with pytest.raises(OSError) as caught:
                breaker.call(fail, error)
            assert caught.value is error
            assert breaker.state is State.CLOSED
        with pytest.raises(Exception, match=r".") as caught:
            breaker.call(fail, error)
        assert not isinstance(caught.value, CircuitOpen)
        assert breaker.state is State.OPEN
        with pytest.raises(CircuitOpen) as rejected:
            breaker.call(calls.append, 1)
        assert calls == []
        assert rejected.value.retry_after <= 10.001

    def test_counts_neither_ignored_errors_nor_exits_as_failures(self, make):
        breaker = make()
        for error in [KeyError(), KeyboardInterrupt()] * 3:
            with pytest.raises(type(error)):
                breaker.call(fail, error)
        assert breaker.state is State.CLOSED


class TestTheTable:
    def test_finds_every_property_in_the_breaker_of_the_course(self, verdicts):
        assert {verdict.status for verdict in verdicts["this course"].values()} == {"holds"}

    def test_does_not_judge_a_window_in_breakers_that_count_failures_in_a_row(self, verdicts):
        for library in ["pybreaker", "circuitbreaker", "aiobreaker", "purgatory"]:
            for check in ["opens-on-error-rate", "opens-on-slow-calls", "window-forgets"]:
                assert verdicts[library][check].status == "no such feature"
                assert verdicts[library][check].words

    def test_finds_the_window_of_pyresilience_right(self, verdicts):
        for check in ["opens-on-error-rate", "opens-on-slow-calls", "window-forgets", "window-counts-every-call"]:
            assert verdicts["pyresilience"][check].status == "holds"

    def test_finds_that_only_the_breaker_that_serialises_all_calls_limits_its_probes(self, verdicts):
        limited = {name for name in LIBRARIES if verdicts[name]["half-open-admits-permitted-calls"].status == "holds"}
        serialised = {name for name in LIBRARIES if verdicts[name]["calls-run-in-parallel"].status == "fails"}
        assert limited == serialised == {"pybreaker"}

    def test_finds_late_results_that_vote_wherever_calls_overlap(self, verdicts):
        for library in ["circuitbreaker", "aiobreaker", "purgatory", "pyresilience"]:
            assert verdicts[library]["late-results-do-not-vote"].status == "fails"

    def test_finds_who_takes_an_ignored_error_for_a_success(self, verdicts):
        for library in LIBRARIES:
            expected = "holds" if library == "pyresilience" else "fails"
            assert verdicts[library]["ignored-errors-give-permits-back"].status == expected

    def test_finds_that_aiobreaker_alone_replaces_the_exception_that_opens_it(self, verdicts):
        replaced = {n for n in LIBRARIES if verdicts[n]["original-exception-reaches-the-caller"].status == "fails"}
        assert replaced == {"aiobreaker"}

    def test_is_the_same_every_time(self):
        pytest.importorskip("purgatory")
        assert table(["purgatory"]) == table(["purgatory"])

    def test_reads_as_text_and_as_html_with_the_reasons(self):
        pytest.importorskip("purgatory")
        rows = table(["purgatory"])
        text, html = as_text(rows), as_html(rows)
        assert "purgatory" in text.splitlines()[0]
        for verdict in rows[0].verdicts:
            assert verdict.check in text
            assert verdict.words in text
        assert html.count("<td") == len(rows[0].verdicts)
        assert "it counts failures in a row" in html

    def test_names_the_way_to_install_what_is_missing(self, monkeypatch):
        monkeypatch.setattr(ADAPTERS["purgatory"], "distribution", "no-such-breaker")
        with pytest.raises(ModuleNotFoundError, match=r"no-such-breaker is not installed.*pip install"):
            table(["purgatory"])
