"""Exercise 17.1.5's pictures: two threads stepped by hand into a deadlock, and the figures."""

from __future__ import annotations

import base64
from html import escape
from typing import Any

import ipywidgets

from shared.palette import COLOURS, ON_COLOUR
from shared.widgets.deadlock_figures import (
    compare_with_reference,
    deadlock_storyboard,
    explored_schedules,
    incident_figure,
    recorded_graph,
    stepper_picture,
)
from shared.widgets.deadlock_runbook import runbook_advice
from shared.widgets.deadlock_stepper import PROGRAMS, Stepper, endings

__all__ = [
    "DeadlockPlayground",
    "compare_with_reference",
    "deadlock_playground",
    "deadlock_storyboard",
    "explored_schedules",
    "incident_figure",
    "recorded_graph",
    "runbook_advice",
]


def deadlock_playground() -> DeadlockPlayground:
    """The live panel: step `get` and `update` line by line, in any order, through three programs."""
    return DeadlockPlayground()


class DeadlockPlayground:
    """Two threads, a button each, and their wait-for graph. Displaying it is enough; it runs no thread of its own."""

    def __init__(self) -> None:
        self._program = ipywidgets.Dropdown(options=list(PROGRAMS), description="locks:", layout={"width": "240px"})
        self._buttons = {
            thread: ipywidgets.Button(
                description=f"Step {thread}", icon="step-forward", tooltip=f"One line of {thread}"
            )
            for thread in PROGRAMS["opposite order"]
        }
        self._undo = ipywidgets.Button(description="Undo", icon="undo", layout={"width": "90px"})
        self._reset = ipywidgets.Button(description="Start again", icon="refresh", layout={"width": "120px"})
        self._close = ipywidgets.Button(description="Close", icon="times", layout={"width": "90px"})
        self._graph, self._lines, self._words = (ipywidgets.HTML() for _ in range(3))
        wrap = ipywidgets.Layout(flex_flow="row wrap", align_items="center")
        self._box = ipywidgets.VBox(
            [
                ipywidgets.Box(
                    [self._program, *self._buttons.values(), self._undo, self._reset, self._close], layout=wrap
                ),
                ipywidgets.Box([self._lines, self._graph], layout=ipywidgets.Layout(flex_flow="row wrap")),
                self._words,
            ],
            layout={"max_width": "1100px"},
        )
        self._stepper = Stepper(PROGRAMS[self._program.value])
        for thread, button in self._buttons.items():
            button.on_click(lambda _, thread=thread: self.step(thread))
        self._undo.on_click(lambda _: self.undo())
        self._reset.on_click(lambda _: self.restart())
        self._close.on_click(lambda _: self.close())
        self._program.observe(lambda _: self.restart(), "value")
        self.restart()

    @property
    def stepper(self) -> Stepper:
        """The run that is on the screen."""
        return self._stepper

    def choose(self, program: str) -> None:
        """Start again with one of PROGRAMS."""
        self._program.value = program

    def step(self, thread: str) -> None:
        """One line of `thread`, as its button does it."""
        self._show(self._stepper.step(thread))

    def undo(self) -> None:
        """Take the last step back."""
        taken = self._stepper.taken[:-1]
        self._stepper = Stepper(PROGRAMS[self._program.value])
        words = "Both threads are at their first line."
        for thread in taken:
            words = self._stepper.step(thread)
        self._show(words)

    def restart(self) -> None:
        """Both threads at their first line."""
        self._stepper = Stepper(PROGRAMS[self._program.value])
        self._show("Both threads are at their first line.")

    def close(self) -> None:
        """Take the panel off the page. Closing twice is fine."""
        for widget in self._box.children:
            widget.close()
        self._box.children = [ipywidgets.HTML("<em>Closed. Run the cell again to play.</em>")]

    def _show(self, words: str) -> None:
        stepper = self._stepper
        for thread, button in self._buttons.items():
            button.disabled = not stepper.can_step(thread)
        self._undo.disabled = not stepper.taken
        picture = stepper_picture(stepper)
        data = base64.b64encode(picture.svg.encode()).decode()
        self._graph.value = f'<img src="data:image/svg+xml;base64,{data}" alt="{escape(picture.alt)}" width="460">'
        self._lines.value = "".join(_listing(stepper, thread) for thread in stepper.program)
        well, stuck = endings(self._program.value)
        done = all(map(stepper.ended, stepper.program))
        tone = "failed" if stepper.deadlocked else "accepted" if done else "waiting"
        self._words.value = (
            f'<div role="status" style="border-left:5px solid {COLOURS[tone]};padding:.2em .8em;margin:.4em 0">'
            f"<b>{escape(words)}</b><br>These two threads can interleave in {well + stuck} ways; "
            f"{stuck or 'none'} of them end{'s' if not stuck else ''} in a deadlock.</div>"
        )

    def _repr_mimebundle_(self, **kwargs: Any) -> dict[str, str]:
        still = deadlock_storyboard()
        bundle = dict(self._box._repr_mimebundle_(**kwargs) or {})
        return bundle | {"image/svg+xml": still.svg, "text/plain": still.alt}


def _listing(stepper: Stepper, thread: str) -> str:
    """The lines of a thread, what is done struck pale, the next one marked."""
    waits = thread in stepper.waits_for
    kind = "failed" if stepper.deadlocked else "waiting" if waits else "accepted"
    rows = []
    for number, line in enumerate(stepper.program[thread]):
        here = number == stepper.at[thread]
        style = "padding:.1em .6em;white-space:pre;"
        if here:
            style += f"background:{COLOURS[kind]};color:{ON_COLOUR[kind]};"
        elif number < stepper.at[thread]:
            style += "opacity:.45;"
        mark = "…" if here and waits else "▶" if here else "✓" if number < stepper.at[thread] else " "
        rows.append(f'<div style="{style}">{mark} {escape(line.words)}</div>')
    return (
        '<div style="display:inline-block;vertical-align:top;margin-right:1.2em;line-height:1.5;'
        'font-family:var(--jp-code-font-family,monospace);font-size:var(--jp-code-font-size,13px)">'
        f"<b>thread {escape(thread)}</b>{''.join(rows)}</div>"
    )
