"""Checks what a runner claims to have recorded, before a judge or a card sees it: none of it is trusted."""

from __future__ import annotations

import math
from typing import Any

from graders.kit import Recording, Trouble

__all__ = ["BadRecording", "checked_recordings"]

_RECORDINGS = 2_000
_EVENTS = 20_000
_TROUBLES = {"unanswered", "error", "deadlock", "livelock", "hang"}
_TEXT = 10_000
_DEPTH = 12


class BadRecording(Exception):
    """It is no recording. The text says what is wrong."""


def checked_recordings(value: Any, scenarios: int) -> list[list[Recording]]:
    """The recordings in a reply: those of each of the `scenarios`, or of the first few. Raises BadRecording."""
    _expect(isinstance(value, list) and 0 < len(value) <= scenarios, "the recordings of each scenario")
    for recordings in value:
        _expect(isinstance(recordings, list) and 0 < len(recordings) <= _RECORDINGS, "a list of recordings")
    return [[_recording(item) for item in recordings] for recordings in value]


def _recording(value: Any) -> Recording:
    _expect(isinstance(value, dict) and set(value) == {"history", "schedule", "trouble"}, "a recording")
    history, schedule = value["history"], value["schedule"]
    _expect(isinstance(history, list) and len(history) <= _EVENTS and all(map(_is_event, history)), "a history")
    _expect(
        isinstance(schedule, dict)
        and all(step.isdecimal() and len(step) < 10 and _is_text(name) for step, name in schedule.items()),
        "a schedule",
    )
    trouble = _trouble(value["trouble"])
    _expect(bool(history) or trouble is not None, "a history of at least one event")
    return Recording(history=history, schedule=schedule, trouble=trouble)


def _trouble(value: Any) -> Trouble | None:
    if value is None:
        return None
    _expect(isinstance(value, dict) and set(value) == {"kind", "message", "where"}, "a trouble")
    _expect(isinstance(value["kind"], str) and _is_text(value["message"]), "a trouble in words")
    where = value["where"]
    _expect(isinstance(where, list) and len(where) <= 10 and all(map(_is_text, where)), "the lines of a trouble")
    # A kind that the kit does not know is an unexpected end like any other.
    kind = value["kind"] if value["kind"] in _TROUBLES else "error"
    return Trouble(kind=kind, message=value["message"], where=where)


def _is_event(value: Any) -> bool:
    return (
        isinstance(value, dict)
        and _is_number(value.get("t"))
        and _is_number(value.get("until", 0))
        and all(_is_text(value.get(key)) for key in ("who", "what", "kind"))
        and all(map(_is_plain, value.values()))
    )


def _is_plain(value: Any, depth: int = _DEPTH) -> bool:
    """Whether judge, card and verdict can hold it: finite, its texts bounded, nested no deeper than a world nests."""
    kind = type(value)
    if kind is str:
        return len(value) <= _TEXT
    if kind is float:
        return math.isfinite(value)
    if kind is list or kind is dict:
        items = value.values() if kind is dict else value
        return depth > 0 and all(_is_plain(item, depth - 1) for item in items)
    return True


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and abs(value) < 1e15


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= _TEXT


def _expect(holds: bool, what: str) -> None:
    if not holds:
        raise BadRecording(f"not {what}")
