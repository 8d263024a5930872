"""The card says the property, the case, expected, observed, where they part and what to open, in text and in HTML."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ElementTree

from graders.kit import Card
from graders.kit.timeline import timeline_svg

HISTORY = [
    {"t": 0.0, "until": 0.5, "who": "main", "what": "call 1", "kind": "accepted", "outcome": "returned", "value": 3},
    {
        "t": 0.5,
        "until": 0.5,
        "who": "main",
        "what": "call 2",
        "kind": "failed",
        "outcome": "raised",
        "error": "OSError",
    },
    {"t": 30.5, "who": "late <b>", "what": "read the state", "kind": "note"},
]
CARD = Card(
    "opens",
    "It opens.",
    case="two calls",
    expected="OPEN",
    observed="CLOSED <script>alert(1)</script>",
    at=1,
    history=HISTORY,
    hint="Hint 1",
    switches=2,
)


def test_the_text_says_all_of_it_in_order() -> None:
    text = CARD.text()
    parts = ["It opens.", "two calls", "2 switches", "OPEN", "CLOSED", "0.5 s, main: call 2", "Hint 1"]
    assert [text.index(part) for part in parts] == sorted(text.index(part) for part in parts)
    assert ">>      0.500 s  main: call 2 → raised OSError" in text
    assert max(map(len, text.splitlines())) <= 100


def test_what_an_answer_may_have_written_is_escaped() -> None:
    html = CARD.html()
    assert "<script>" not in html
    assert "late &lt;b&gt;" in html


def test_a_card_survives_the_verdict_file() -> None:
    assert Card.from_json(json.loads(json.dumps(CARD.as_json()))) == CARD


def test_a_long_history_is_shown_around_the_event() -> None:
    history = [{"t": float(i), "who": "main", "what": f"call {i}", "kind": "note"} for i in range(100)]
    text = Card("x", "X.", at=50, history=history).text()
    assert "call 50" in text and "call 40" in text and "call 39" not in text and "call 60" not in text
    assert "… 40 earlier events" in text


def test_the_timeline_is_wellformed_with_a_lane_per_thread_and_the_event_marked() -> None:
    svg = ElementTree.fromstring(timeline_svg(HISTORY, at=1))
    space = "{http://www.w3.org/2000/svg}"
    lanes = [node.text for node in svg.iter(f"{space}text")]
    assert {"main", "late <b>"} <= set(lanes)
    assert svg.find(f"{space}title").text == "Timeline of 3 events; they part at 0.5 s: call 2, raised OSError"
    assert len([node for node in svg.iter(f"{space}rect") if node.get("fill") == "none"]) == 1


def test_a_card_without_a_history_has_no_timeline() -> None:
    assert "<svg" not in Card("x", "X.", observed="gone").html()
