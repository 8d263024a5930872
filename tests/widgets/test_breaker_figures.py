"""The still figures of 17.2.1: the same bytes every time, readable by all, and honest about a learner's breaker."""

from __future__ import annotations

import functools
import time
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from shared.resilience.circuit_breaker import CircuitBreaker
from shared.resilience.contracts import BreakerConfig
from shared.widgets.breaker_figures import breaker_storyboard, compare_with_reference, incident_figure
from shared.widgets.style import Picture

FIGURES: dict[str, Callable[[], Picture]] = {
    "storyboard": breaker_storyboard.__wrapped__,
    "incident": incident_figure.__wrapped__,
    "comparison": lambda: compare_with_reference(CircuitBreaker),
}


@functools.cache
def figure(name: str) -> Picture:
    return FIGURES[name]()


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_is_the_same_bytes_every_time(name: str) -> None:
    assert FIGURES[name]().svg == figure(name).svg


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_can_be_read_by_those_who_cannot_see_it(name: str) -> None:
    picture = figure(name)
    root = ElementTree.fromstring(picture.svg)
    assert root.get("role") == "img"
    assert root.get("aria-label") == picture.alt
    assert picture._repr_mimebundle_() == {"image/svg+xml": picture.svg, "text/plain": picture.alt}


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_has_no_date_and_follows_dark_pages(name: str) -> None:
    svg = figure(name).svg
    assert "dc:date" not in svg
    assert "prefers-color-scheme: dark" in svg
    assert "var(--ink)" in svg and "var(--paper)" in svg


def test_the_storyboard_goes_from_success_through_failure_to_recovery() -> None:
    words = breaker_storyboard().alt
    assert words.index("starts CLOSED") < words.index("s OPEN") < words.index("HALF-OPEN") < words.rindex("CLOSED")


def test_the_reference_agrees_with_itself() -> None:
    assert figure("comparison").alt.startswith("The same on all ")


class BlindToSlowness(CircuitBreaker):
    def __init__(self, config: BreakerConfig, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(replace(config, slow_call_rate=1.0), clock)


class Raises:
    def __init__(self, config: BreakerConfig, clock: Callable[[], float] = time.monotonic) -> None: ...

    def call(self, fn: Callable[[], Any]) -> Any:
        return fn(1)  # type: ignore[call-arg]


class Unanswered(Raises):
    def call(self, fn: Callable[[], Any]) -> Any:
        raise NotImplementedError("your answer goes here")


def test_a_breaker_that_ignores_slow_calls_is_told_where_it_first_differs() -> None:
    words = compare_with_reference(BlindToSlowness).alt
    assert words.startswith("First difference at 7")
    assert words.endswith("the reference rejected the call, yours made the call (slow).")


def test_an_exception_of_the_breaker_itself_is_named() -> None:
    assert "yours raised TypeError" in compare_with_reference(Raises).alt


def test_an_untouched_answer_raises_not_implemented_error() -> None:
    with pytest.raises(NotImplementedError, match="your answer goes here"):
        compare_with_reference(Unanswered)
