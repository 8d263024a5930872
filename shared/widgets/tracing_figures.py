"""The still figures of exercise 17.1.2: spans as a waterfall, the incident, the three mistakes, and a learner's pool
beside the reference.

Each is drawn from spans of the OpenTelemetry SDK, made in simulated time: the same bytes come out of every run.
"""

from __future__ import annotations

import functools
import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import StatusCode

from shared.observability.contracts import correlation_id
from shared.observability.traced_worker_pool import TracedWorkerPool, process_request
from shared.observability.tracing import SpanRecorder, in_tree_order, trace_tree
from shared.palette import COLOURS, PAPER
from shared.simulation import VirtualTime
from shared.widgets.style import Picture, course_style, picture_of
from shared.widgets.tracing_simulation import MISTAKES, Mistakes, record
from shared.widgets.unwritten import needs

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["compare_with_reference", "incident_figure", "mistakes_storyboard", "waterfall"]

_FAINT, _INK = PAPER["light"]["faint"], PAPER["light"]["ink"]
_SMALL: dict[str, Any] = {"fontsize": 8.5, "color": _FAINT}


def waterfall(spans: Sequence[ReadableSpan], title: str = "") -> Picture:
    """Any ended spans as a tracing backend draws them: a row each, children below their parent, traces apart.

    What outlives its parent is orange, a status of ERROR is red and marked. No spans give an empty picture.
    """
    import matplotlib.pyplot as plt

    with course_style():
        figure, axes = plt.subplots(figsize=(8.6, 0.9 + 0.27 * max(1, len(spans))))
        _draw(axes, spans)
        axes.set(title=title, xlabel="time (s)")
        words = "; ".join(" ".join(line.split()) for line in trace_tree(spans).splitlines())
        return picture_of(figure, words or "No span has ended.")


@functools.cache
def incident_figure() -> Picture:
    """The incident: what the tracing backend showed of two requests, and what had happened."""
    import matplotlib.pyplot as plt

    shown, right = record(Mistakes(no_copy=True, early_end=True))[0], record(Mistakes())[0]
    with course_style():
        figure, panels = plt.subplots(1, 2, sharex=True, figsize=(8.6, 3.9))
        for axes, spans, title in zip(panels, (shown, right), ("What the traces said", "What happened"), strict=True):
            count = sum(depth == 0 for depth, _ in in_tree_order(spans))
            _draw(axes, spans, orphans=("process_item",))
            axes.set(title=f"{title}: {count} traces", xlabel="time (s)")
        return picture_of(
            figure,
            "Two waterfalls of the same work. Left: ten traces; two requests of 0.25 s, and each of their "
            "seven items alone, without a parent. Right: three traces; each request spans its items, up to 4.3 s.",
        )


@functools.cache
def mistakes_storyboard() -> Picture:
    """The playground's story: the same round traced rightly, and with each of the three mistakes."""
    import matplotlib.pyplot as plt

    cases = {"All is well": Mistakes()}
    cases |= {words.capitalize(): Mistakes(**{name: True}) for name, words in MISTAKES.items()}
    with course_style():
        figure, panels = plt.subplots(2, 2, sharex=True, figsize=(8.6, 6.4))
        for axes, (title, mistakes) in zip(panels.flat, cases.items(), strict=True):
            _draw(axes, record(mistakes)[0], orphans=("process_item",), strays=("sweep_cache",))
            axes.set(title=title)
        for axes in panels[1]:
            axes.set_xlabel("time (s)")
        return picture_of(
            figure,
            "Four waterfalls of the same two requests and a sweep. All is well: three traces, each item below its "
            "request. Forget to copy the context: no item has a parent. End the parent early: both requests end after "
            "0.25 s, and their items go on. Forget to detach: the sweep, which belongs to no request, hangs below one.",
        )


def compare_with_reference(make: Callable[..., Any], process: Callable[..., Any]) -> Picture:
    """The same two requests and a sweep, traced by the reference and by `make` and `process`: two waterfalls.

    Raises NotImplementedError where a part is not written yet.
    """
    import matplotlib.pyplot as plt

    with needs("This part"):
        reference, yours = _traced(TracedWorkerPool, process_request), _traced(make, process)
    words = _first_difference(reference, yours)
    with course_style():
        figure, panels = plt.subplots(1, 2, sharex=True, figsize=(8.6, 3.8))
        for axes, spans, title in zip(panels, (reference, yours), ("The reference", "Yours"), strict=True):
            _draw(axes, spans, orphans=("process_item",), strays=("sweep_cache",))
            axes.set(title=title, xlabel="time (s)")
        figure.suptitle(words, x=0.01, ha="left", fontsize=10.5, color=_INK)
        return picture_of(figure, words)


def _draw(axes: Axes, spans: Sequence[ReadableSpan], orphans: Sequence[str] = (), strays: Sequence[str] = ()) -> None:
    """One waterfall. Roots named in `orphans` should have a parent, and children named in `strays` should have none."""
    rows = list(in_tree_order(spans))
    by_id = {span.context.span_id: span for span in spans}
    first = min((span.start_time or 0 for span in spans), default=0)

    def seconds(instant: int | None) -> float:
        return ((instant or first) - first) / 1e9

    last = max((seconds(span.end_time) for span in spans), default=1.0) or 1.0
    labels = []
    for row, (depth, span) in enumerate(rows):
        start, end = seconds(span.start_time), seconds(span.end_time)
        parent = by_id.get(span.parent.span_id) if span.parent is not None else None
        wrong = span.name in (orphans if depth == 0 else strays)
        raised = span.status.status_code is StatusCode.ERROR
        colour = "failed" if raised or (wrong and depth == 0) else "rejected" if wrong else "accepted"
        colour = "half-open" if depth == 0 and colour == "accepted" else colour
        axes.barh(row, max(end - start, last / 300), left=start, height=0.66, color=COLOURS[colour])
        if parent is not None and not wrong and (over := max(start, seconds(parent.end_time))) < end:
            axes.barh(row, end - over, left=over, height=0.66, color=COLOURS["slow"])
        note = "ERROR" if raised else "no parent" if wrong and depth == 0 else "not its request" if wrong else ""
        axes.text(end + last / 60, row, note, va="center", **_SMALL)
        if depth == 0 and row:
            axes.axhline(row - 0.5, color=_FAINT, linewidth=0.6)
        labels.append("\N{NO-BREAK SPACE}" * 3 * depth + span.name)  # plain spaces are lost in SVG
    axes.set_yticks(range(len(rows)), labels, ha="left", fontsize=8.5)
    axes.tick_params(axis="y", length=0, pad=max((4.9 * len(label) for label in labels), default=0.0))
    axes.set(xlim=(0, last * 1.22), ylim=(max(1, len(rows)) - 0.4, -0.6))
    axes.grid(False)


def _item(seconds: float, fails: bool = False) -> None:
    time.sleep(seconds)
    if fails:
        raise ValueError("no such photo")


def _sweep() -> None:
    time.sleep(0.5)


_sweep.__name__ = "sweep_cache"

_COMPARED = {
    "order-1": (0.0, [functools.partial(_item, seconds) for seconds in (1.0, 1.75, 0.75)]),
    "order-2": (0.5, [functools.partial(_item, 1.25), functools.partial(_item, 0.5, True)]),
}


def _traced(make: Callable[..., Any], process: Callable[..., Any]) -> tuple[ReadableSpan, ...]:
    """The spans of two requests, one of which fails, and of a sweep after them."""
    recorder, unanswered = SpanRecorder(), list[NotImplementedError]()

    def request(pool: Any, identity: str, items: list[Callable[[], None]]) -> None:
        correlation_id.set(identity)
        try:
            process(recorder.tracer, pool, items)
        except NotImplementedError as error:
            unanswered.append(error)
        except Exception:
            return  # what it raised is not in the picture; the checks look at it

    def program() -> None:
        pool = make(2, 16, recorder.tracer)
        requests = []
        for identity, (at, items) in _COMPARED.items():
            time.sleep(at)
            requests.append(threading.Thread(target=request, args=(pool, identity, items), daemon=True))
            requests[-1].start()
        for each in requests:
            each.join()
        if not unanswered:
            time.sleep(2.0)
            pool.submit(_sweep)
        pool.shutdown()
        time.sleep(1.0)

    VirtualTime().run(program)
    if unanswered:
        raise unanswered[0]
    return recorder.spans


def _first_difference(reference: Sequence[ReadableSpan], yours: Sequence[ReadableSpan]) -> str:
    """What a reader of the two waterfalls should look at, in words. When spans begin is no difference."""
    for what, count in (
        ("span", len),
        ("trace", lambda spans: sum(depth == 0 for depth, _ in in_tree_order(spans))),
    ):
        expected, observed = count(reference), count(yours)
        if expected != observed:
            return f"First difference: {expected} {what}s by the reference, {observed} by yours."
    expected_paths, observed_paths = _paths(reference), _paths(yours)
    for expected_path, observed_path in zip(expected_paths, observed_paths, strict=True):
        if expected_path != observed_path:
            return (
                f"First difference: {' / '.join(expected_path)} by the reference, {' / '.join(observed_path)} by yours."
            )
    ends = {span.context.span_id: span.end_time or 0 for span in yours}
    for span in yours:
        if span.parent is not None and ends.get(span.parent.span_id, span.end_time or 0) < (span.end_time or 0):
            return f"First difference: {span.name} ends after its parent in yours."
    return f"The same tree of {len(yours)} spans."


def _paths(spans: Sequence[ReadableSpan]) -> list[list[str]]:
    """Each span as its names from the root down, sorted, with ids and, for tasks, whether they raised."""
    paths, above = [], list[str]()
    for depth, span in in_tree_order(spans):
        identity = (span.attributes or {}).get("correlation_id")
        words = span.name if identity is None else f"{span.name} ({identity})"
        if span.name != "process_request" and span.status.status_code is StatusCode.ERROR:
            words += " ERROR"
        above = [*above[:depth], words]
        paths.append(above)
    return sorted(paths)
