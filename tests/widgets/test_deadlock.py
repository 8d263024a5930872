"""The pictures of 17.1.5: the stepper closes the ring, the counts are exact, answers are drawn and differ in words."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pytest

from graders.course import find
from shared.observability import deadlock
from shared.observability.recorded_dumps import FAULTHANDLER, LOCKS, PY_SPY
from shared.widgets.deadlock import (
    compare_with_reference,
    deadlock_playground,
    deadlock_storyboard,
    explored_schedules,
    incident_figure,
    recorded_graph,
    runbook_advice,
)
from shared.widgets.deadlock_runbook import advice_on
from shared.widgets.deadlock_stepper import CACHE, PROGRAMS, TABLE, Stepper, endings

CLOSING = ("get", "update", "update", "get", "update")


def test_five_steps_close_the_ring() -> None:
    stepper = Stepper(PROGRAMS["opposite order"])
    said = [stepper.step(thread) for thread in CLOSING]
    assert stepper.deadlocked
    assert stepper.cycle == ["get", "update"]
    assert stepper.waits_for == {"get": TABLE, "update": CACHE}
    assert "Deadlock" in said[-1]
    assert not any(map(stepper.can_step, stepper.program))


def test_a_thread_that_waits_goes_on_when_the_lock_is_free() -> None:
    stepper = Stepper(PROGRAMS["one order"])
    assert "holds" in [stepper.step(thread) for thread in ("get", "update")][1]
    while not stepper.ended("get"):
        stepper.step("get")
    while not stepper.ended("update"):
        stepper.step("update")
    assert stepper.step("update") == "update has ended."
    assert stepper.holder == {}


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_number_of_endings_is_that_of_all_runs(name: str) -> None:
    lines = {thread: len(steps) for thread, steps in PROGRAMS[name].items()}
    ended = {True: set(), False: set()}  # type: ignore[var-annotated]
    places = itertools.combinations(range(sum(lines.values())), lines["get"])
    for get_places in places:
        stepper, done = Stepper(PROGRAMS[name]), []
        for place in range(sum(lines.values())):
            thread = "get" if place in get_places else "update"
            before = stepper.at[thread]
            stepper.step(thread)
            if stepper.at[thread] == before:
                break
            done.append(thread)
        else:
            ended[True].add(tuple(done))
    well, stuck = endings(name)
    assert well == len(ended[True])
    assert (stuck > 0) == (name == "opposite order")


def test_the_panel_steps_goes_back_and_closes() -> None:
    panel = deadlock_playground()
    for thread in CLOSING:
        panel.step(thread)
    assert panel.stepper.deadlocked
    assert "The cycle is closed" in panel._graph.value
    assert panel._buttons["get"].disabled
    panel.undo()
    assert not panel.stepper.deadlocked
    panel.choose("one lock at a time")
    assert panel.stepper.taken == []
    assert "none of them" in panel._words.value
    assert {"image/svg+xml", "text/plain"} <= set(panel._repr_mimebundle_())
    panel.close()
    panel.close()


def test_an_answer_that_differs_is_named() -> None:
    assert "They agree." in compare_with_reference(deadlock.find_deadlock).alt
    assert "only slow" in compare_with_reference(lambda dump: ["http-2"] if "http-2" in dump else []).alt
    with pytest.raises(NotImplementedError):
        compare_with_reference(_unwritten)


def test_schedules_of_an_answer_are_counted_beside_the_reference() -> None:
    names: dict = {"__name__": "answer"}  # type: ignore[type-arg]
    path = find("17.1.5").answers / "wrong-no-lock-at-all.py"
    exec(compile(path.read_text(), "<answer>", "exec", dont_inherit=True), names)
    alt = explored_schedules(names["Cache"], names["DB"], 60).alt
    assert "deadlock" in alt.partition("yours")[0]
    assert "old value stays" in alt.partition("yours")[2].partition("reference")[0]
    assert "reference: 60 fresh" in alt
    with pytest.raises(NotImplementedError):
        explored_schedules(_Unwritten, _Unwritten)


def _unwritten(dump: str) -> list[str]:
    raise NotImplementedError


class _Unwritten:
    def __init__(self, _: object) -> None:
        raise NotImplementedError


def test_the_figures_say_in_words_what_they_show() -> None:
    assert "0 %" in incident_figure().alt
    assert "closed" in deadlock_storyboard().alt
    assert "Thread-3 (serve) waits" in recorded_graph().alt


def test_the_notebook_shows_the_dumps_as_they_were_recorded() -> None:
    source = find("17.1.5").source.read_text()
    text = "\n".join(line.removeprefix("#").removeprefix(" ") for line in source.splitlines())
    assert LOCKS in text
    for recorded in (FAULTHANDLER, PY_SPY):
        shown = [line for line in recorded.splitlines() if line and line in text]
        assert len(shown) >= 15


def test_advice_on_a_runbook_names_what_is_missing_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = """
1. Requests stand still, `top` shows 0 % CPU: it hangs.
2. `kill -USR1 PID >> dump.txt`; keep the file.
3. Look for a cycle: waiting to lock, locked.
4. If there is no cycle: look at what the last thread waits for. Otherwise restart, and tell the on-call owner.
5. Check that requests are served again.
"""
    assert advice_on(whole) == []
    assert len(advice_on("Restart it.")) == 9
    monkeypatch.chdir(tmp_path)
    runbook_advice()
    for text in ("YOUR ANSWER HERE", whole, "Restart it."):
        cell = {"metadata": {"nbgrader": {"grade_id": "runbook"}}, "source": text.splitlines(keepends=True)}
        (tmp_path / "17.1.5-deadlock.ipynb").write_text(json.dumps({"cells": [cell]}))
        runbook_advice()
    said = capsys.readouterr().out
    for words in ("save the notebook", "no runbook yet", "All parts are there", "number the steps"):
        assert words in said
