"""The course's still figures: matplotlib drawings as SVG, the same bytes on every run, readable on light and dark
pages.

with course_style():
    figure, axes = plt.subplots()
    ...
    picture = picture_of(figure, alt="Goodput falls to zero above 200 requests/s.")
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any

from shared.palette import COLOURS, PAPER

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Picture", "course_style", "picture_of"]

_LIGHT, _DARK = PAPER["light"], PAPER["dark"]
_RC: Any = {
    "svg.hashsalt": "systems-that-last",
    "svg.fonttype": "none",
    "font.family": "DejaVu Sans",
    "font.size": 9.5,
    "figure.figsize": (8.0, 4.0),
    "figure.facecolor": _LIGHT["paper"],
    "figure.constrained_layout.use": True,
    "axes.facecolor": "none",
    "axes.edgecolor": _LIGHT["rule"],
    "axes.labelcolor": _LIGHT["faint"],
    "axes.titlecolor": _LIGHT["ink"],
    "axes.titlesize": 10.5,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.color": _LIGHT["rule"],
    "grid.linewidth": 0.6,
    "lines.linewidth": 1.8,
    "text.color": _LIGHT["ink"],
    "xtick.color": _LIGHT["rule"],
    "ytick.color": _LIGHT["rule"],
    "xtick.labelcolor": _LIGHT["faint"],
    "ytick.labelcolor": _LIGHT["faint"],
    "legend.frameon": False,
    "legend.labelcolor": _LIGHT["ink"],
}


@dataclass(frozen=True)
class Picture:
    """A finished figure: the SVG text, and the same thing said in words for those who cannot see it."""

    svg: str
    alt: str

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        return {"image/svg+xml": self.svg, "text/plain": self.alt}


@contextmanager
def course_style() -> Iterator[None]:
    """The course's matplotlib settings, for the length of a `with` block."""
    import matplotlib.pyplot as plt

    with plt.rc_context({**_RC, "axes.prop_cycle": plt.cycler(color=list(dict.fromkeys(COLOURS.values())))}):
        yield


def picture_of(figure: Figure, alt: str) -> Picture:
    """Turn a figure drawn under `course_style` into a picture, and close it. `alt` says in words what it shows.

    The SVG carries its own paper, so that it can be read on any page, and follows the page's colour scheme where the
    viewer passes it on.
    """
    import matplotlib.pyplot as plt

    text = io.StringIO()
    figure.savefig(text, format="svg", metadata={"Date": None, "Creator": None})
    plt.close(figure)
    return Picture(_accessible(_themed(_rounded(text.getvalue())), alt), alt)


def _rounded(svg: str) -> str:
    """Coordinates to a hundredth of a point: half the bytes, the same picture."""
    return re.sub(r"\d+\.\d{3,}", lambda number: f"{float(number[0]):.2f}", svg)


def _themed(svg: str) -> str:
    """Name the page colours, so that dark pages replace them; viewers without CSS variables keep the light ones."""
    for name, colour in _LIGHT.items():
        svg = re.sub(
            rf"(fill|stroke): {colour}\b", rf"\1: {colour.lower()}; \1: var(--{name})", svg, flags=re.IGNORECASE
        )
    variables = {
        scheme: "; ".join(f"--{name}: {colour}" for name, colour in colours.items())
        for scheme, colours in PAPER.items()
    }
    style = (
        f"<style>:root {{ {variables['light']} }} "
        f"@media (prefers-color-scheme: dark) {{ :root {{ {variables['dark']} }} }}</style>"
    )
    return re.sub(r"(<svg\b[^>]*>)", rf"\1\n {style}", svg, count=1)


def _accessible(svg: str, alt: str) -> str:
    body = svg[svg.index("<svg") :]
    return body.replace("<svg ", f'<svg role="img" aria-label="{escape(alt)}" ', 1)
