"""Exercise 17.1.3's pictures: a dashboard on recorded incidents, with a scrubber, and the still figures."""

from __future__ import annotations

from collections.abc import Callable
from html import escape
from typing import Any

import ipywidgets

from shared.observability.dashboard_layout import layout_of
from shared.observability.recording import load
from shared.widgets.dashboard_figures import (
    INCIDENTS,
    compare_with_reference,
    dashboard_picture,
    dashboard_storyboard,
    incident_figure,
    reference_layout,
)

__all__ = [
    "DashboardPlayground",
    "compare_with_reference",
    "dashboard_playground",
    "dashboard_storyboard",
    "incident_figure",
]

FROM, TO = -30, 110
"""The minutes that the scrubber covers; an incident lasts from 0 to 45."""


def dashboard_playground(build: Callable[[], Any] | None = None) -> DashboardPlayground:
    """A dashboard, the course's or the one that `build()` returns, on recorded incidents."""
    return DashboardPlayground(build)


class DashboardPlayground:
    """A choice of incidents, a scrubber and a play button above a dashboard drawn from its JSON.

    Displaying it is enough. It runs no thread: the play button ticks in the browser.
    """

    def __init__(self, build: Callable[[], Any] | None = None) -> None:
        self._layout = reference_layout() if build is None else layout_of(build())
        self.incident = ipywidgets.Dropdown(
            options=[(load(name).title, name) for name in INCIDENTS], layout={"width": "360px"}
        )
        self.incident.tooltip = "Which recorded incident"
        self.minutes = ipywidgets.IntSlider(
            -10, FROM, TO, description="minute", tooltip="Minutes since 03:00", layout={"width": "380px"}
        )
        self._play = ipywidgets.Play(value=-10, min=FROM, max=TO, step=1, interval=400)
        self._linked = ipywidgets.jslink((self._play, "value"), (self.minutes, "value"))
        self._words, self._picture = ipywidgets.HTML(), ipywidgets.HTML()
        controls = ipywidgets.Box(
            [self.incident, self._play, self.minutes], layout=ipywidgets.Layout(flex_flow="row wrap")
        )
        self._box = ipywidgets.VBox([controls, self._words, self._picture], layout={"max_width": "1100px"})
        for control in (self.incident, self.minutes):
            control.observe(lambda _: self._draw(), "value")
        self._draw()

    @property
    def svg(self) -> str:
        """What is on the screen."""
        return str(self._picture.value)

    @property
    def words(self) -> str:
        """What happens at the instant that is shown."""
        return str(self._words.value)

    def close(self) -> None:
        """Take it off the page."""
        self._play.playing = False
        self._box.close()

    def _draw(self) -> None:
        name, minute = self.incident.value, self.minutes.value
        when = "quiet" if minute <= 0 else "it lasts until minute 45" if minute <= 45 else "it is over"
        self._words.value = (
            f'<div aria-live="polite">{escape(load(name).title)} from 03:00 on. Minute {minute}: {when}.</div>'
        )
        self._picture.value = dashboard_picture(self._layout, name, minute).svg

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, str]:
        still = dashboard_storyboard()
        bundle = dict(self._box._repr_mimebundle_(**kwargs) or {})
        return bundle | {"image/svg+xml": still.svg, "text/plain": still.alt}
