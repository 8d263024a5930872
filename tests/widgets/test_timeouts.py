"""The pictures of 17.2.5: what they compute is what the reference does, and orphans are seen."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from shared.resilience.deadlines import Deadline, call_with_deadline
from shared.widgets.timeouts import compare_with_reference, incident_figure, tree_storyboard
from shared.widgets.timeouts_simulation import LEVELS, SEED_TREE, UPSIDE_DOWN, TreeSimulation, measured, spans


@pytest.mark.parametrize("timeouts", [SEED_TREE, UPSIDE_DOWN, (2.0, 5.0, 10.0, 30.0)])
@pytest.mark.parametrize("work", [0.125, 0.9, 7.3])
def test_the_arithmetic_agrees_with_the_reference(timeouts, work):
    drawn = [(span.level, span.start, span.end) for span in spans(timeouts, work, True)]
    run = [(span.level, span.start, span.end) for span in measured((Deadline, call_with_deadline), timeouts, work)]
    assert [name for name, *_ in drawn] == [name for name, *_ in run]
    for (_, *planned), (_, *real) in zip(drawn, run, strict=True):
        assert planned == pytest.approx(real)


def test_nothing_is_orphaned_under_one_deadline_and_much_is_without_it():
    assert sum(span.orphaned for span in spans(UPSIDE_DOWN, 1.6, True)) == 0
    assert sum(span.orphaned for span in spans(UPSIDE_DOWN, 1.6, False)) > 1


def test_a_nested_child_that_starts_later_can_outlive_its_parent():
    assert spans((2.0, 1.9, 1.8, 1.7), 9.0, False)[1].orphaned == pytest.approx(0.05)


def test_an_orphan_of_an_answer_is_drawn_and_named():
    async def forgetful(fn: Any, timeout: float, parent: Any = None, *, name: str = "") -> Any:
        task = asyncio.ensure_future(fn(Deadline.after(timeout, name=name)))
        await asyncio.wait({task}, timeout=timeout)
        if not task.done():
            raise TimeoutError(name)
        return task.result()

    assert "They agree." in compare_with_reference(Deadline, call_with_deadline).alt
    picture = compare_with_reference(Deadline, forgetful)
    assert "They differ" in picture.alt
    assert "a query of 1.6 s, upside down" in picture.alt
    assert "orphan" in picture.svg


def test_the_live_tree_turns_red_upside_down_and_not_when_the_deadline_is_handed_down():
    upside_down, handed_down = TreeSimulation(), TreeSimulation()
    handed_down.set("handed_down", 1.0)
    red = []
    for simulation in (upside_down, handed_down):
        simulation.step(12.0)
        frame = simulation.frame()
        assert {bar[0] for bar in frame["panes"]["levels"]} <= set(LEVELS)
        red.append(sum(orphaned for _, _, orphaned in frame["panes"]["work"]))
    assert red[0] > 5
    assert red[1] == 0
    with pytest.raises(KeyError, match="no dial"):
        upside_down.set("luck", 1.0)


def test_the_figures_say_in_words_what_they_show():
    assert "in total, for nobody" in incident_figure().alt
    assert "orphans" in tree_storyboard().alt
