"""The chart keeps what is still on the picture, so that a view which opens later sees all of it."""

from __future__ import annotations

from typing import Any

import pytest

from shared.widgets.live_chart import Cells, Columns, Frame, Kind, Lanes, Line, LiveChart, Row


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    messages: list[Any] = []
    monkeypatch.setattr(LiveChart, "send", lambda self, content, buffers=None: messages.append(content))
    return messages


@pytest.fixture
def chart(sent: list[Any]) -> LiveChart:
    panes = [
        Columns("calls", "Calls", "/s", [Line("served", "accepted")], span=10.0),
        Lanes("states", "States", ["breaker"], span=10.0),
        Cells("window", "Window", 5, {"ok": Kind("ok", ["accepted"])}),
    ]
    return LiveChart([Row(100, panes)], "Three panes.", clock=lambda: 7.0)


def frame(t: float, **panes: Any) -> Frame:
    return {"t": t, "words": f"It is {t:g}.", "tone": "accepted", "news": "", "panes": panes}


def test_every_frame_goes_out_as_it_is_pushed(chart: LiveChart, sent: list[Any]) -> None:
    frames = [frame(1.0, calls=[[1.0, 3]]), frame(2.0, window={"cells": ["ok"], "count": 1})]
    for each in frames:
        chart.push(each)
    assert sent == frames


def test_a_late_view_is_told_all_that_is_still_on_the_picture(chart: LiveChart, sent: list[Any]) -> None:
    for second in range(1, 31):
        chart.push(frame(float(second), calls=[[float(second), 2 * second]], window={"cells": ["ok"], "count": second}))
    chart._handle_custom_msg({"ask": "replay"}, [])
    told = sent[-1]
    assert told["replay"] is True
    assert told["words"] == "It is 30."
    assert told["panes"]["calls"] == [[float(second), 2 * second] for second in range(19, 31)]
    assert told["panes"]["window"] == {"cells": ["ok"], "count": 30}


def test_a_bar_is_replaced_by_its_end_and_forgotten_when_it_has_left_the_picture(chart: LiveChart) -> None:
    chart.push(frame(0.0, states=[["breaker", 0.0, None, "closed", "CLOSED"]]))
    chart.push(frame(5.0, states=[["breaker", 0.0, 5.0, "closed", "CLOSED"], ["breaker", 5.0, None, "open", "OPEN"]]))
    replay = chart.replay()
    assert replay is not None
    assert [bar[1:3] for bar in replay["panes"]["states"]] == [(0.0, 5.0), (5.0, None)]
    chart.push(frame(16.0, states=[]))
    replay = chart.replay()
    assert replay is not None
    assert [bar[1:3] for bar in replay["panes"]["states"]] == [(5.0, None)]


def test_before_the_first_frame_there_is_nothing_to_replay(chart: LiveChart, sent: list[Any]) -> None:
    chart._handle_custom_msg({"ask": "replay"}, [])
    assert chart.replay() is None
    assert sent == []


def test_a_frame_for_an_unknown_pane_is_refused_by_name(chart: LiveChart) -> None:
    with pytest.raises(KeyError, match="no pane 'latency', only calls, states, window"):
        chart.push(frame(1.0, latency=[[1.0, 0.2]]))


def test_a_view_that_speaks_marks_the_chart_as_watched(chart: LiveChart) -> None:
    chart.watched_at = 0.0
    chart._handle_custom_msg({"ask": "alive"}, [])
    assert chart.watched_at == 7.0


def test_the_drawing_code_and_its_style_travel_with_the_widget(chart: LiveChart) -> None:
    assert "export default" in chart._esm
    assert ".course-live-chart" in chart._css
    for outside in ("http://", "https://", "import "):
        assert outside not in chart._esm
