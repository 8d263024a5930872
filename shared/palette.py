"""The course's colours: one meaning has one colour in every chart, figure and failure card.

Colour-blind safe (Okabe and Ito, "Color Universal Design", 2008). Plain strings, so that anything may use them.
A colour never speaks alone: pictures add a mark, a position or a word.
"""

from __future__ import annotations

__all__ = ["COLOURS", "ON_COLOUR", "PAPER"]

COLOURS: dict[str, str] = {
    # What became of a call. These are also the kinds of a history's events.
    "accepted": "#009E73",
    "rejected": "#CC79A7",
    "slow": "#E69F00",
    "failed": "#D55E00",
    "waiting": "#56B4E9",
    "note": "#8A8A8A",
    # The states of a breaker. Closed accepts; open rejects, which protects: it is not the colour of failure.
    "closed": "#009E73",
    "open": "#CC79A7",
    "half-open": "#0072B2",
}

ON_COLOUR: dict[str, str] = {
    "accepted": "#141414",
    "rejected": "#141414",
    "slow": "#141414",
    "failed": "#141414",
    "waiting": "#141414",
    "note": "#141414",
    "closed": "#141414",
    "open": "#141414",
    "half-open": "#FAFAFA",
}
"""The colour of text on a fill of that name."""

PAPER: dict[str, dict[str, str]] = {
    "light": {"paper": "#FFFFFF", "ink": "#24292F", "faint": "#6B7280", "rule": "#D7DBE0"},
    "dark": {"paper": "#151515", "ink": "#E6E6E6", "faint": "#A0A6AE", "rule": "#3A3F46"},
}
"""What still figures are drawn on and with, per colour scheme of the page that shows them."""
