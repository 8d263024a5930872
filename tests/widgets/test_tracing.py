"""The pictures of 17.1.2 tell the truth about traces, and the same story every time."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from collections.abc import Callable
from typing import Any

import pytest

from shared.observability.contracts import correlation_id, process_item
from shared.observability.traced_worker_pool import TracedWorkerPool, process_request
from shared.observability.worker_pool import WorkerPool
from shared.widgets.live_chart import Frame
from shared.widgets.style import Picture
from shared.widgets.tracing import tracing_playground
from shared.widgets.tracing_figures import compare_with_reference, incident_figure, mistakes_storyboard, waterfall
from shared.widgets.tracing_simulation import KINDS, LANES, ROUND, Mistakes, Traced, TracingSimulation, record

FIGURES: dict[str, Callable[[], Picture]] = {
    "incident": incident_figure.__wrapped__,
    "storyboard": mistakes_storyboard.__wrapped__,
    "comparison": lambda: compare_with_reference(TracedWorkerPool, process_request),
    "waterfall": lambda: waterfall(record(Mistakes())[0]),
    "nothing": lambda: waterfall([]),
}


def spans(**mistakes: bool) -> dict[str, Traced]:
    return {each.lane: each for each in record(Mistakes(**mistakes))[1]}


def kinds(**mistakes: bool) -> dict[str, str]:
    return {lane: each.kind for lane, each in spans(**mistakes).items() if each.kind != "request"}


def play(until: float = 3 * ROUND, dt: float = 0.5, **mistakes: bool) -> tuple[TracingSimulation, list[Frame]]:
    """The mistakes are made from the second round on."""
    simulation, frames = TracingSimulation(), []
    while simulation.now < until:
        if simulation.now == ROUND / 2:
            for name, on in mistakes.items():
                simulation.set(name, float(on))
        simulation.step(dt)
        frames.append(simulation.frame())
    return simulation, frames


def rows(frames: list[Frame], pane: str) -> list[list[Any]]:
    return [row for frame in frames for row in frame["panes"][pane]]


def test_without_a_mistake_every_task_is_in_its_own_request() -> None:
    assert tuple(spans()) == LANES
    assert set(kinds().values()) == {"own"}
    assert {spans()[item].parent for item in ("A1", "A4")} == {"A"} and spans()["sweep"].parent is None


def test_without_a_copy_no_item_has_a_parent() -> None:
    assert {lane for lane, kind in kinds(no_copy=True).items() if kind == "orphan"} == set(LANES) - {"A", "B", "sweep"}


def test_a_context_that_is_left_behind_shows_in_the_sweep_alone() -> None:
    found = kinds(no_detach=True)
    assert found.pop("sweep") == "stray"
    assert set(found.values()) == {"own"}


def test_a_parent_that_ends_early_is_outlived_by_its_items() -> None:
    found = spans(early_end=True)
    assert found["A"].end - found["A"].start == 0.25
    assert all(found[item].end > (found[item].parent_end or 0.0) for item in ("A1", "A2", "A3", "A4"))
    assert set(kinds(early_end=True).values()) == {"own"}


def test_the_story_is_the_same_whatever_the_steps() -> None:
    assert play(no_copy=True)[1] == play(no_copy=True)[1]
    assert rows(play(dt=0.5, early_end=True)[1], "tasks") == rows(play(dt=2.5, early_end=True)[1], "tasks")


def test_every_task_is_in_one_column_and_every_span_ends_in_its_lane() -> None:
    _, frames = play()
    tasks = len(LANES) - 2
    assert sum(sum(row[1:]) for row in rows(frames, "tasks")) == 3 * tasks
    ended = {(lane, start) for lane, start, end, *_ in rows(frames, "spans") if end is not None}
    begun = {(lane, start) for lane, start, *_ in rows(frames, "spans")}
    assert begun == ended and len(ended) == 3 * len(LANES)


def test_a_switch_counts_from_the_next_round_on() -> None:
    _, frames = play(no_copy=True)
    red = [start for _, start, _, colour, _ in rows(frames, "spans") if colour == KINDS["orphan"][1]]
    assert min(red) >= ROUND


@pytest.mark.parametrize(
    ("mistakes", "words"),
    [
        ({}, "7 of 7 items are in their own request's trace."),
        ({"no_copy": True}, "0 of 7 items are in their own request's trace."),
        ({"early_end": True}, "request A looks as if it took 0.25 s."),
        ({"no_detach": True}, "the sweep hangs below a span that it has nothing to do with."),
    ],
)
def test_the_words_say_what_the_picture_shows(mistakes: dict[str, bool], words: str) -> None:
    frame = play(**mistakes)[1][-1]
    assert frame["words"].endswith(words)
    assert frame["tone"] == ("failed" if mistakes else "accepted")


def test_an_unknown_switch_is_refused() -> None:
    with pytest.raises(KeyError, match="no switch 'volume'"):
        TracingSimulation().set("volume", 1.0)


def test_the_playground_takes_its_switches_and_leaves_no_thread() -> None:
    panel = tracing_playground()
    try:
        panel.pause()
        panel.controls["no_copy"].value = True
        panel.tick()
    finally:
        panel.close()
    assert not panel.running


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_is_the_same_bytes_every_time_and_has_words(name: str) -> None:
    picture = FIGURES[name]()
    assert picture.svg == FIGURES[name]().svg
    root = ElementTree.fromstring(picture.svg)
    assert (root.get("role"), root.get("aria-label")) == ("img", picture.alt)
    assert "dc:date" not in picture.svg and picture.alt


class Bare(TracedWorkerPool):
    """Hands its tasks over as they are."""

    def submit(self, fn: Any, /, *args: Any) -> Any:
        return self._pool.submit(self._run, fn, args)


class Silent(WorkerPool):
    def __init__(self, workers: int, queue_size: int, tracer: object) -> None:
        super().__init__(workers, queue_size)


def leaves_early(tracer: Any, pool: Any, items: Any) -> None:
    with tracer.start_as_current_span("process_request", attributes={"correlation_id": correlation_id.get()}):
        for item in items:
            pool.submit(process_item, item)


def test_the_comparison_says_what_to_look_at() -> None:
    assert compare_with_reference(TracedWorkerPool, process_request).alt == "The same tree of 8 spans."
    assert (
        compare_with_reference(Bare, process_request).alt == "First difference: 3 traces by the reference, 8 by yours."
    )
    assert (
        compare_with_reference(Silent, process_request).alt == "First difference: 8 spans by the reference, 2 by yours."
    )


def test_the_comparison_sees_a_parent_that_ends_first() -> None:
    words = "First difference: process_item ends after its parent in yours."
    assert compare_with_reference(TracedWorkerPool, leaves_early).alt == words


def test_the_comparison_lets_an_unwritten_part_through() -> None:
    def unwritten(*args: object) -> None:
        raise NotImplementedError

    with pytest.raises(NotImplementedError):
        compare_with_reference(unwritten, process_request)
    with pytest.raises(NotImplementedError):
        compare_with_reference(TracedWorkerPool, unwritten)
