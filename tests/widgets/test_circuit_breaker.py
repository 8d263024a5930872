"""The pictures of 17.2.1 tell the truth about the breaker, and the same story every time."""

from __future__ import annotations

import itertools
import json
from dataclasses import replace

import pytest

from shared.palette import COLOURS, ON_COLOUR
from shared.resilience.contracts import State
from shared.simulation.traffic import Arrivals, Backend
from shared.widgets.breaker_simulation import FAILING, HEALTHY, PLAY_CONFIG, SLOW, BreakerSimulation, replay
from shared.widgets.circuit_breaker import breaker_playground
from shared.widgets.live_chart import Frame

Script = dict[float, dict[str, float]]
FALL_AND_RISE: Script = {20.0: FAILING, 60.0: HEALTHY}


def play(script: Script, until: float, dt: float = 0.5, seed: int = 1) -> tuple[BreakerSimulation, list[Frame]]:
    simulation, frames = BreakerSimulation(seed=seed), []
    while simulation.now < until:
        for dial, value in script.get(simulation.now, {}).items():
            simulation.set(dial, value)
        simulation.step(dt)
        frames.append(simulation.frame())
    return simulation, frames


def states(simulation: BreakerSimulation) -> list[State]:
    return [change.after for change in simulation.transitions]


def columns(frames: list[Frame]) -> list[list[float]]:
    return [row for frame in frames for row in frame["panes"]["calls"]]


def test_the_same_seed_and_dials_give_the_same_frames() -> None:
    assert play(FALL_AND_RISE, 90)[1] == play(FALL_AND_RISE, 90)[1]
    assert play(FALL_AND_RISE, 90)[1] != play(FALL_AND_RISE, 90, seed=2)[1]


def test_the_story_does_not_depend_on_the_size_of_the_steps() -> None:
    assert columns(play(FALL_AND_RISE, 90, dt=0.5)[1]) == columns(play(FALL_AND_RISE, 90, dt=2.0)[1])


def test_it_opens_on_errors_probes_after_the_wait_and_closes_when_healed() -> None:
    simulation, _ = play(FALL_AND_RISE, 120)
    assert states(simulation)[:2] == [State.OPEN, State.HALF_OPEN]
    assert states(simulation)[-2:] == [State.HALF_OPEN, State.CLOSED]
    opened, probed = simulation.transitions[:2]
    assert 20 < opened.at < 40
    assert PLAY_CONFIG.wait_duration <= probed.at - opened.at < PLAY_CONFIG.wait_duration + 3


def test_it_opens_on_slow_answers_that_all_succeed() -> None:
    simulation, frames = play({20.0: SLOW}, 60)
    assert states(simulation)[0] is State.OPEN
    gauges = frames[-1]["panes"]["rates"]["values"]
    assert gauges["slow"] >= PLAY_CONFIG.slow_call_rate
    assert gauges["failed"] < PLAY_CONFIG.error_rate


def test_a_healthy_backend_never_opens_it() -> None:
    assert states(play({}, 300)[0]) == []


def test_every_call_is_in_one_column_of_the_chart() -> None:
    simulation, frames = play(FALL_AND_RISE, 120)
    simulation.set("rate", 0.0)
    simulation.step(20.0)
    rows = columns([*frames, simulation.frame()])
    assert [row[0] for row in rows] == [float(second) for second in range(1, 141)]
    arrived = len(list(Arrivals(seed=1).between(0.0, 120.0, 5.0)))
    assert sum(sum(row[1:]) for row in rows) == arrived


def test_while_open_nothing_but_rejections_begins() -> None:
    simulation, frames = play({20.0: FAILING}, 45)
    opened = simulation.transitions[0].at
    late = [row for row in columns(frames) if opened + 5 < row[0] <= opened + PLAY_CONFIG.wait_duration]
    assert late
    assert all(row[1:4] == [0, 0, 0] for row in late)


def test_the_words_say_how_long_and_how_many() -> None:
    simulation, frames = play({20.0: FAILING}, 35)
    left = simulation.breaker.snapshot().retry_after
    assert frames[-1]["words"] == f"OPEN for {left:.0f} s more: {simulation.spared} calls were spared."
    assert frames[-1]["tone"] == "open"
    assert frames[0]["words"].startswith("CLOSED: calls flow.")


def test_the_strip_is_the_breakers_window() -> None:
    simulation, frames = play({20.0: {"errors": 0.3}}, 60)
    seen = simulation.breaker.snapshot()
    strip = frames[-1]["panes"]["window"]
    assert len(strip["cells"]) == PLAY_CONFIG.window_size == len(seen.results)
    assert strip["cells"].count("failed") == seen.failed
    assert strip["faded"] is False


def test_the_strip_moves_by_the_results_that_counted() -> None:
    hasty = replace(PLAY_CONFIG, slow_call_threshold=10.0, wait_duration=0.2, window_size=10, min_calls_to_open=5)
    simulation = BreakerSimulation(replace(hasty, permitted_calls_in_half_open=1))
    simulation.set("errors", 0.5)
    frames = []
    for number in range(800):
        simulation.set("latency", 3.0 if number % 4 == 0 else 0.05)  # many answers come when their period is over
        simulation.step(0.25)
        frames.append(simulation.frame()["panes"]["window"])
    assert states(simulation).count(State.CLOSED) > 5
    for old, new in itertools.pairwise(frames):
        moved = new["count"] - old["count"]
        if old["faded"] and new["faded"]:
            assert moved == 0
        elif not old["faded"] and len(new["cells"]) >= len(old["cells"]) > 0 and not new["faded"]:
            kept = len(new["cells"]) - moved
            assert new["cells"][:kept] == old["cells"][len(old["cells"]) - kept :]


def test_probes_are_counted_as_they_come_back() -> None:
    frames = play(FALL_AND_RISE, 120, dt=0.125)[1]
    notes = [frame["panes"]["states"]["notes"] for frame in frames]
    seen = [note["half-open"] for note in notes if "half-open" in note]
    assert list(dict.fromkeys(seen)) == ["0 of 3 well", "1 of 3 well", "2 of 3 well"]


def test_the_count_of_spared_calls_starts_anew_with_each_outage() -> None:
    simulation, frames = play(FALL_AND_RISE, 120)
    closed_at = simulation.transitions[-1].at
    assert max(row[4] for row in columns(frames)) > 0
    assert simulation.spared == 0
    assert f"The breaker closed again at {closed_at:.0f} s" in frames[-1]["news"]
    rejected = sum(row[4] for row in columns(frames))
    assert frames[-1]["news"].endswith(f"It spared {rejected:.0f} calls.")


def test_the_countdown_runs_from_the_wait_to_nothing() -> None:
    frames = play({20.0: FAILING}, 45)[1]
    opened = [frame["panes"]["states"] for frame in frames if frame["panes"]["states"]["active"] == "open"]
    left = [state["left"] for state in opened]
    assert left == sorted(left, reverse=True)
    assert opened[0]["of"] == PLAY_CONFIG.wait_duration
    assert all(0 <= each <= PLAY_CONFIG.wait_duration for each in left)


def test_frames_are_plain_json() -> None:
    frames = play(FALL_AND_RISE, 120)[1]
    assert json.loads(json.dumps(frames)) == frames
    for frame in frames:
        assert set(frame) == {"t", "words", "tone", "news", "panes"}
        assert frame["tone"] in COLOURS


def test_an_unknown_dial_is_refused_by_name() -> None:
    with pytest.raises(KeyError, match="no dial 'voltage'"):
        BreakerSimulation().set("voltage", 230.0)


def test_the_playground_opens_with_a_full_picture_and_closes() -> None:
    panel = breaker_playground()
    try:
        panel.pause()
        replay = panel.chart.replay()
        assert replay is not None
        assert len(replay["panes"]["calls"]) >= 60
        assert set(replay["panes"]) == {pane["id"] for row in panel.chart.rows for pane in row["panes"]}
    finally:
        panel.close()
    assert not panel.running


def test_a_replay_counts_every_call_once() -> None:
    run = replay(PLAY_CONFIG, Backend(error_rate=0.5, latency=0.05, seed=7), seconds=600, calls_per_second=10)
    assert run == replay(PLAY_CONFIG, Backend(error_rate=0.5, latency=0.05, seed=7), seconds=600, calls_per_second=10)
    arrived = len(list(Arrivals(seed=1).between(0.0, 600.0, 10.0)))
    on_their_way = arrived - (run.served + run.slow + run.failed + run.rejected)
    assert 0 <= on_their_way <= 2
    assert run.changes > 10


def test_every_colour_has_a_colour_for_the_text_on_it() -> None:
    assert set(COLOURS) == set(ON_COLOUR)
    for name, colour in COLOURS.items():
        assert contrast(colour, ON_COLOUR[name]) >= 4.5, name


def contrast(one: str, other: str) -> float:
    """The WCAG contrast ratio of two colours."""
    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def luminance(colour: str) -> float:
    parts = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.03928 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]
