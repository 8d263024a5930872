"""The still figures of exercise 17.2.2: the incident, four jitters against one outage, the counterexample to a listing,
and a learner's retry beside the reference.

Each is drawn from a run in simulated time, so the same bytes come out of every run.
"""

from __future__ import annotations

import functools
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from shared.palette import COLOURS, PAPER
from shared.resilience.contracts import BackoffConfig
from shared.resilience.retry import JITTERS, retry
from shared.simulation import VirtualTime
from shared.widgets.retry_simulation import BIN, CLIENTS, PLAY_CONFIG, SURVIVES, Outage, outage
from shared.widgets.style import Picture, course_style, picture_of
from shared.widgets.unwritten import needs

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["compare_with_reference", "counterexample", "herd_figure", "herd_table", "incident_figure"]

_FAINT, _INK = PAPER["light"]["faint"], PAPER["light"]["ink"]
_SMALL: dict[str, Any] = {"fontsize": 8.5, "color": _FAINT}
_EVERY_SECOND = BackoffConfig(initial_delay=1.0, multiplier=1.0, max_attempts=PLAY_CONFIG.max_attempts)
_MS = f"{1000 * BIN:.0f} ms"
_SEED = 19  # of the one client that is drawn: its waits are long enough to carry their labels


@functools.cache
def incident_figure() -> Picture:
    """The incident: clients that all ask again each second keep a server down that full jitter lets up."""
    import matplotlib.pyplot as plt

    seconds, down = 20.0, 3.0
    runs = {
        "Everybody, every second": outage("none", config=_EVERY_SECOND, down=down, seconds=seconds, survives=SURVIVES),
        "Exponential backoff, full jitter": outage("full", down=down, seconds=seconds, survives=SURVIVES),
    }
    with course_style():
        figure, ((herd, spread), (nobody, back)) = plt.subplots(
            2, 2, sharex=True, sharey="row", figsize=(8.6, 3.9), height_ratios=[1.5, 1.0]
        )
        for top, bottom, (title, run) in zip((herd, spread), (nobody, back), runs.items(), strict=True):
            _draw_columns(top, run)
            top.set_title(title)
            top.axhline(SURVIVES, color=_FAINT, linewidth=1.2, linestyle=(0, (4, 3)))
            bottom.stairs(run.connected, _edges(run.connected), fill=True, color=COLOURS["accepted"])
            bottom.set(xlabel="time (s)", xlim=(0, seconds), ylim=(0, CLIENTS * 1.15), xticks=range(0, 20, 5))
            for axes in (top, bottom):
                _shade(axes, run.down)
        herd.annotate(
            f"falls over at more than {SURVIVES}", (seconds, SURVIVES), (-3, 2), textcoords="offset points", ha="right",
            bbox={"facecolor": PAPER["light"]["paper"], "edgecolor": "none", "pad": 1.0, "alpha": 0.8}, **_SMALL,
        )  # fmt: skip
        herd.set_ylabel(f"connects per {_MS}")
        nobody.set_ylabel("clients connected")
        figure.legend(*_legend(), loc="outside lower center", ncols=3, fontsize=8.5, handlelength=1.0)
        herd_run, spread_run = runs.values()
        return picture_of(
            figure,
            f"{CLIENTS} clients lose their server at 0 s; it is back after {down:.0f} s and falls over when more than "
            f"{SURVIVES} connect within {_MS}. Left, all ask again every second: {herd_run.peak} arrive at once, "
            f"the server falls over each time, and after {seconds:.0f} s nobody is served. Right, exponential backoff "
            f"with full jitter: at most {spread_run.peak} arrive within {_MS}, and all are connected after "
            f"{spread_run.all_back:.1f} s.",
        )


@functools.cache
def herd_figure() -> Picture:
    """One outage of 8 s, four jitters: when the retries come."""
    import matplotlib.pyplot as plt

    down, seconds = 8.0, 20.0
    runs = {name: outage(name, down=down, seconds=seconds) for name in JITTERS}
    with course_style():
        figure, rows = plt.subplots(len(runs), 1, sharex=True, sharey=True, figsize=(8.6, 5.6))
        for axes, (name, run) in zip(rows, runs.items(), strict=True):
            _draw_columns(axes, run)
            _shade(axes, run.down)
            axes.set(xlim=(0, seconds), ylim=(0, CLIENTS * 1.12), yticks=[0, 25, 50, 75, 100])
            axes.set_title(f"{name}: at most {run.peak}")
        rows[0].annotate(
            "server down", (down / 2, CLIENTS), (0, 0), textcoords="offset points", va="top", ha="center", **_SMALL
        )
        figure.supylabel(f"retries per {_MS}", fontsize=9.5, color=_FAINT)
        rows[-1].set_xlabel("seconds since all clients failed")
        peaks = ", ".join(f"{name} {run.peak}" for name, run in runs.items())
        return picture_of(
            figure,
            f"Retries per {_MS} of {CLIENTS} clients that fail together; the server is down for {down:.0f} s. "
            f"Highest columns by jitter: {peaks}. Without jitter all come at 2, 6 and 14 s; with it they spread out.",
        )


def herd_table(down: float = 8.0) -> None:
    """Print the same outage as a table."""
    print(f"{'jitter':<14}{'peak per ' + _MS:>16}{'of the un-jittered':>20}{'retries':>9}{'all back after':>16}")
    runs = {name: outage(name, down=down) for name in JITTERS}
    for name, run in runs.items():
        share = run.peak / runs["none"].peak
        print(f"{name:<14}{run.peak:>16}{share:>20.0%}{run.retries:>9}{run.all_back:>14.1f} s")


# One retry, looked at


@dataclass
class _Course:
    """What one client did: its calls and sleeps, how it ended, in seconds since it began."""

    calls: list[float] = field(default_factory=list)
    sleeps: list[tuple[float, float]] = field(default_factory=list)  # began, ended
    ended: float = 0.0
    error: str = ""  # what the caller got
    own: bool = False  # and whether that is the very error of the last call

    @property
    def waits(self) -> list[float]:
        return [after - before for before, after in zip(self.calls, self.calls[1:], strict=False)]

    @property
    def slept_on(self) -> float:
        """Seconds between the last call and the end."""
        return self.ended - self.calls[-1] if self.calls else 0.0


def _watch(retry: Callable[..., Any], config: BackoffConfig, clients: int) -> list[_Course]:
    """Clients whose calls all fail, one after the other, each on its own time. Runs under VirtualTime."""
    return [_watch_one(retry, config, random.Random(f"client/{number}")) for number in range(clients)]


def _watch_one(retry: Callable[..., Any], config: BackoffConfig, rng: random.Random) -> _Course:
    course, began = _Course(), time.monotonic()
    last: Exception | None = None

    def fn() -> None:
        nonlocal last
        if len(course.calls) > 2 * config.max_attempts:
            return  # it would never end
        course.calls.append(time.monotonic() - began)
        last = ConnectionResetError(f"call {len(course.calls)} failed")
        raise last

    def sleep(seconds: float) -> None:
        start = time.monotonic() - began
        time.sleep(seconds)
        course.sleeps.append((start, time.monotonic() - began))

    try:
        retry(fn, config, sleep=sleep, rng=rng, clock=time.monotonic, deadline=None)
        course.error = "nothing: it returned"
    except NotImplementedError:
        raise
    except Exception as error:
        course.error, course.own = f"{type(error).__name__}: {error}", error is last
    course.ended = time.monotonic() - began
    return course


def _bound(config: BackoffConfig, number: int) -> float:
    return min(config.max_delay, config.initial_delay * config.multiplier**number)


def _faults(config: BackoffConfig, courses: Sequence[_Course]) -> list[str]:
    """What is wrong with them, in words, once each; of the waits over their bounds, the longest."""
    found: dict[str, str] = {}
    waits = [(wait, number) for course in courses for number, wait in enumerate(course.waits)]
    too_long = [(wait, number) for wait, number in waits if wait > _bound(config, number) + 1e-6]
    if too_long:
        wait, number = max(too_long)
        found["bound"] = f"waited {wait:.2f} s before retry {number}: the bound is {_bound(config, number):g} s"
    for course in courses:
        if len(course.calls) != config.max_attempts:
            found.setdefault("calls", f"called {len(course.calls)} times: max_attempts is {config.max_attempts}")
        if course.slept_on > 1e-6:
            found.setdefault("sleep", f"slept {course.slept_on:.2f} s after its last call, for nothing")
        if not course.own:
            found.setdefault("error", f"lost the last call's ConnectionResetError: the caller gets {course.error}")
    return list(found.values())


def counterexample(listing: Callable[..., Any]) -> Picture:
    """One client of a retry whose calls all fail, beside the reference: its waits against their bounds, and its end.

    `listing` is a function with the interface of the exercise.
    """
    import matplotlib.pyplot as plt

    config = BackoffConfig(initial_delay=1.0, max_delay=3.0, max_attempts=4)
    courses = {
        "The reference": VirtualTime().run(_watch_one, retry, config, random.Random(_SEED)),
        "The listing": VirtualTime().run(_watch_one, listing, config, random.Random(_SEED)),
    }
    faults = _faults(config, [courses["The listing"]])
    with course_style():
        figure, rows = plt.subplots(2, 1, sharex=True, figsize=(8.6, 3.4))
        for axes, (title, course) in zip(rows, courses.items(), strict=True):
            _draw_course(axes, config, course)
            axes.set_title(title)
        rows[1].set_xlabel("seconds")
        rows[1].set_xlim(left=-0.15)
        figure.legend(*_course_legend(), loc="outside lower center", ncols=4, fontsize=8.5, handlelength=1.2)
        words = "The listing " + "; ".join(faults) + "." if faults else "Nothing to object to."
        figure.suptitle(_folded(words), x=0.01, ha="left", fontsize=9.5, color=_INK)
        settings = f"initial_delay {config.initial_delay:g} s, max_delay {config.max_delay:g} s"
        return picture_of(
            figure, f"{words} (One client, {config.max_attempts} attempts, {settings}; every call fails.)"
        )


def _draw_course(axes: Axes, config: BackoffConfig, course: _Course) -> None:
    """Calls as crosses, bounds as brackets, waits as bars: red over the bound and after the last call."""
    bar: dict[str, Any] = {"height": 0.34, "linewidth": 0}
    for number, (start, wait) in enumerate(zip(course.calls, course.waits, strict=False)):
        bound = _bound(config, number)
        axes.barh(0, min(wait, bound), left=start, color=COLOURS["waiting"], **bar)
        axes.barh(0, max(0.0, wait - bound), left=start + bound, color=COLOURS["failed"], **bar)
        axes.plot([start, start, start + bound, start + bound], [0.3, 0.42, 0.42, 0.3], color=_INK, linewidth=1.1)
        axes.text(start + 0.06, 0.47, f"≤ {bound:g} s", va="bottom", **_SMALL)
    if course.calls:
        axes.barh(0, course.slept_on, left=course.calls[-1], color=COLOURS["failed"], hatch="///", **bar)
    axes.plot(course.calls, [0] * len(course.calls), "x", color=_INK, markersize=7, markeredgewidth=2, zorder=3)
    colour = _INK if course.own else COLOURS["failed"]
    axes.annotate(
        course.error,
        (course.ended, -0.24),
        (0, 0),
        textcoords="offset points",
        ha="right",
        va="top",
        fontsize=8.5,
        color=colour,
    )
    axes.set(yticks=[], ylim=(-0.62, 0.85))
    axes.spines["left"].set_visible(False)
    axes.grid(False)


def _course_legend() -> tuple[list[Any], list[str]]:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    return [
        Line2D([], [], color=_INK, marker="x", linestyle="", markeredgewidth=2),
        Patch(color=COLOURS["waiting"]),
        Patch(color=COLOURS["failed"]),
        Patch(facecolor=COLOURS["failed"], hatch="///"),
    ], ["a call, failed", "waits", "waits over its bound", "sleeps after the last call"]


def compare_with_reference(yours: Callable[..., Any]) -> Picture:
    """Your retry and the reference, 100 clients whose calls all fail: their waits, and when they come back.

    Raises NotImplementedError where the answer does.
    """
    import matplotlib.pyplot as plt

    config = BackoffConfig(initial_delay=1.0, max_delay=6.0, max_attempts=5)
    with needs("retry"):
        mine = VirtualTime().run(_watch, yours, config, CLIENTS)
    courses = {"The reference": VirtualTime().run(_watch, retry, config, CLIENTS), "Yours": mine}
    columns = {title: _columns(each) for title, each in courses.items()}
    faults = _faults(config, courses["Yours"])
    peaks = {title: max(each, default=0) for title, each in columns.items()}
    herd = f"At most {peaks['Yours']} of {CLIENTS} clients come back within {_MS}"
    herd += f" (the reference: {peaks['The reference']})."
    words = ("Yours " + "; ".join(faults) + "." if faults else "All your waits are within their bounds.") + f" {herd}"
    with course_style():
        figure, axes = plt.subplots(2, 2, sharex="col", sharey="col", figsize=(8.6, 4.6), width_ratios=[1.0, 1.5])
        for (waits, herd_axes), (title, each) in zip(axes, courses.items(), strict=True):
            _draw_waits(waits, config, each)
            waits.set(title=title, ylabel="seconds waited")
            herd_axes.stairs(columns[title], _edges(columns[title]), fill=True, color=COLOURS["failed"])
            herd_axes.set(title=f"retries per {_MS}", ylim=(0, max(30, *peaks.values()) * 1.1))
        axes[1][0].set_xlabel("before retry")
        longest = max((wait for each in courses["Yours"] for wait in each.waits), default=0.0)
        axes[1][0].set_ylim(0, 1.05 * max(config.max_delay, longest))
        axes[1][1].set_xlabel("seconds since all clients failed")
        figure.suptitle(_folded(words), x=0.01, ha="left", fontsize=9.5, color=_INK)
        return picture_of(figure, words)


def _draw_waits(axes: Axes, config: BackoffConfig, courses: Sequence[_Course]) -> None:
    """A dot per wait, in a column per retry; the bound above it."""
    spread = random.Random(1)
    for number in range(config.max_attempts - 1):
        bound = _bound(config, number)
        waits = [course.waits[number] for course in courses if number < len(course.waits)]
        places = [number + spread.uniform(-0.3, 0.3) for _ in waits]
        colours = [COLOURS["failed" if wait > bound + 1e-6 else "waiting"] for wait in waits]
        axes.scatter(places, waits, s=7, c=colours, linewidths=0)
        axes.plot([number - 0.4, number + 0.4], [bound, bound], color=_INK, linewidth=1.4)
    axes.set_xticks(range(config.max_attempts - 1))


def _columns(courses: Sequence[_Course]) -> list[int]:
    starts = [start for course in courses for start in course.calls[1:]]
    columns = [0] * (int(max(starts, default=0.0) / BIN) + 1)
    for start in starts:
        columns[int(start / BIN)] += 1
    return columns


def _folded(words: str) -> str:
    import textwrap

    return "\n".join(textwrap.wrap(words, 118))


def _edges(columns: Sequence[object]) -> list[float]:
    return [number * BIN for number in range(len(columns) + 1)]


def _draw_columns(axes: Axes, run: Outage) -> None:
    """Retries per column: refused while the server is down, accepted while it is up."""
    edges = _edges(run.columns)
    for refused, colour in ((True, "failed"), (False, "accepted")):
        part = [count if down is refused else 0 for count, down in zip(run.columns, run.down, strict=True)]
        axes.stairs(part, edges, fill=True, color=COLOURS[colour])


def _shade(axes: Axes, down: Sequence[bool]) -> None:
    start: int | None = None
    for index, is_down in enumerate([*down, False]):
        if is_down and start is None:
            start = index
        elif not is_down and start is not None:
            axes.axvspan(start * BIN, index * BIN, color=COLOURS["note"], alpha=0.14, linewidth=0)
            start = None


def _legend() -> tuple[list[Any], list[str]]:
    from matplotlib.patches import Patch

    return [
        Patch(color=COLOURS["accepted"]),
        Patch(color=COLOURS["failed"]),
        Patch(color=COLOURS["note"], alpha=0.3),
    ], ["accepted", "refused", "server down"]
