"""The failure card: what a learner reads when a check does not hold, as plain text and as HTML.

A card is plain data. Everything on it that an answer may have produced is escaped in HTML.
"""

from __future__ import annotations

import textwrap
from dataclasses import asdict, dataclass, field
from html import escape
from typing import Any

from graders.kit.check import Event, History
from graders.kit.timeline import moment, timeline_svg
from shared.palette import COLOURS

__all__ = ["Card"]

_MARK = COLOURS["failed"]
_WIDTH = 96
_BEFORE, _AFTER = 10, 3


@dataclass(frozen=True)
class Card:
    """One failed check: the property, the smallest case, expected, observed, where they part, what to open next."""

    id: str
    title: str
    case: str = ""
    expected: str = ""
    observed: str = ""
    at: int | None = None
    history: History = field(default_factory=list)
    hint: str = ""
    switches: int = 0
    """How many switches between threads the counterexample needs beyond the default order."""

    def as_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Card:
        return cls(**data)

    @property
    def rows(self) -> list[tuple[str, str]]:
        """The labelled lines of the card, those that say something."""
        where = f"{self._moment(self.history[self.at])}" if self._points_at_an_event else ""
        threads = ""
        if self.switches:
            plural = "switch" if self.switches == 1 else "switches"
            threads = f"{self.switches} {plural} between threads, at the worst moment, are enough"
        labelled = [
            ("smallest case", self.case),
            ("interleaving", threads),
            ("expected", self.expected),
            ("observed", self.observed),
            ("they part at", where),
            ("open next", self.hint),
        ]
        return [(label, words) for label, words in labelled if words]

    def text(self) -> str:
        """For a terminal: lines of at most 96 characters, wrapped."""
        lines = [f"✗ {self.title}", ""]
        for label, words in self.rows:
            for number, line in enumerate(words.splitlines()):
                begin = " " * 16 if number else f"  {label:<14}"
                lines += textwrap.wrap(
                    line.strip(), _WIDTH, initial_indent=begin, subsequent_indent=" " * 16, break_long_words=False
                )
        if self.history:
            lines += ["", "  what happened:", *(f"  {'>>' if here else '  '}  {line}" for here, line in self._story())]
        return "\n".join(lines)

    def html(self) -> str:
        """For JupyterLab, in the colours of its theme; for a browser, in fallbacks of the same."""
        rows = "".join(
            f'<tr><th scope="row" style="{_TH}">{escape(label)}</th><td style="{_TD}">{escape(words)}</td></tr>'
            for label, words in self.rows
        )
        picture = ""
        if self.history:
            story = "".join(f"<div{_HERE if here else ''}>{escape(line)}</div>" for here, line in self._story())
            picture = (
                f'<details open style="margin-top:.6em"><summary style="cursor:pointer">What happened</summary>'
                f'<div style="overflow-x:auto">{timeline_svg(self.history, self.at)}</div>'
                f'<div style="{_STORY}">{story}</div></details>'
            )
        return (
            f'<div class="stl-card" role="group" aria-label="Failed check" style="{_CARD}">'
            f'<div style="font-weight:600;font-size:1.08em;margin-bottom:.5em">'
            f'<span style="color:{_MARK}" aria-hidden="true">✗</span> {escape(self.title)}</div>'
            f'<table style="{_TABLE}"><tbody>{rows}</tbody></table>{picture}</div>'
        )

    @property
    def _points_at_an_event(self) -> bool:
        return self.at is not None and 0 <= self.at < len(self.history)

    def _moment(self, event: Event) -> str:
        return f"{moment(event.get('t', 0))}, {event.get('who', '')}: {event.get('what', '')}"

    def _story(self) -> list[tuple[bool, str]]:
        """The events around the one where things part, a line each, and whether a line is that one."""
        pointed = self._points_at_an_event
        at = self.at if pointed and self.at is not None else len(self.history) - 1
        first, last = max(0, at - _BEFORE), min(len(self.history), at + _AFTER + 1)
        lines = [(False, f"… {first} earlier events")] if first else []
        for index in range(first, last):
            event = self.history[index]
            instant = event.get("t", 0)
            when = f"{instant:.3f} s" if instant < 1000 else moment(instant)
            line = f"{when:>11}  {event.get('who', '')}: {event.get('what', '')}{_ending(event)}"
            lines.append((pointed and index == at, line))
        if last < len(self.history):
            lines.append((False, f"… {len(self.history) - last} later events"))
        return lines


def _ending(event: Event) -> str:
    outcome = event.get("outcome")
    if outcome == "returned":
        return "" if event.get("value") is None else f" → {event['value']!r}"
    if outcome == "raised":
        return f" → raised {event.get('error')}"
    return ""


_STORY = (
    "margin-top:.4em;white-space:pre-wrap;overflow-wrap:anywhere;"
    "font-family:var(--jp-code-font-family,ui-monospace,monospace);font-size:var(--jp-code-font-size,13px)"
)
_HERE = f' style="font-weight:700;border-left:3px solid {_MARK};margin-left:-8px;padding-left:5px"'
_CARD = (
    "border:1px solid var(--jp-border-color1,#bdbdbd);border-left:4px solid "
    + COLOURS["failed"]
    + ";border-radius:4px;"
    "padding:.8em 1em;margin:.3em 0;max-width:62em;line-height:1.45;"
    "background:var(--jp-layout-color1,#fff);color:var(--jp-content-font-color1,#1b1b1b);"
    "font-family:var(--jp-ui-font-family,system-ui,sans-serif);font-size:var(--jp-content-font-size1,14px)"
)
_TABLE = "border-collapse:collapse;border:0;margin:0;font-size:inherit;width:100%;table-layout:auto"
_TH = (
    "text-align:left;vertical-align:top;font-weight:600;white-space:nowrap;width:1%;"
    "padding:.15em 1.2em .15em 0;border:0;"
    "background:transparent;color:var(--jp-content-font-color2,#555)"
)
_TD = "text-align:left;vertical-align:top;padding:.15em 0;border:0;background:transparent;white-space:pre-line"
