"""Two requests and a sweep on one pool, traced rightly or with three mistakes: the story of exercise 17.1.2's pictures.

Invariant: every span comes from the OpenTelemetry SDK and the course's worker pool, run in simulated time. The same
mistakes give the same spans; the live panel replays them.
"""

from __future__ import annotations

import functools
import itertools
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, wait
from dataclasses import dataclass
from typing import Any

from opentelemetry import context, trace
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import Tracer

from shared.observability.tracing import SpanRecorder
from shared.observability.worker_pool import WorkerPool
from shared.simulation import VirtualTime
from shared.widgets.live_chart import Frame

__all__ = ["KINDS", "LANES", "MISTAKES", "ROUND", "WORKERS", "Mistakes", "Traced", "TracingSimulation", "record"]

WORKERS = 3
ROUND = 10.0
"""Seconds from one pair of requests to the next."""
_SWEEP_AT = 6.5

_ITEMS: dict[str, tuple[float, tuple[float, ...]]] = {
    "A": (0.5, (1.4, 2.2, 1.0, 1.7)),
    "B": (1.25, (1.2, 0.9, 1.6)),
}
"""Per request: when it comes, and how long each of its items takes, in seconds."""

LANES = ("A", "A1", "A2", "A3", "A4", "B", "B1", "B2", "B3", "sweep")
"""The spans of a round, in the order in which a reader expects them."""

KINDS = {
    "own": ("in its own request's trace", "accepted"),
    "late": ("outlives its parent", "slow"),
    "orphan": ("has no parent", "failed"),
    "stray": ("in somebody else's trace", "rejected"),
}
"""What can become of a task's span: in words, and its colour."""


@dataclass(frozen=True)
class Mistakes:
    """What a traced pool gets wrong."""

    no_copy: bool = False  # the worker does not get the submitter's context
    early_end: bool = False  # the request's span ends when all is submitted
    no_detach: bool = False  # the worker keeps the context of its last task


MISTAKES = {
    "no_copy": "forget to copy the context",
    "early_end": "end the parent early",
    "no_detach": "forget to detach",
}


@dataclass(frozen=True)
class Traced:
    """One span of a round. `kind` is a name of `KINDS`, or "request". Times in seconds from the start of the round."""

    lane: str
    worker: int | None
    kind: str
    parent: str | None
    start: float
    end: float
    parent_end: float | None


class _CarelessPool:
    """Traces its tasks as many pools do, by attach and detach; a mistake leaves one step out."""

    def __init__(self, tracer: Tracer, mistakes: Mistakes) -> None:
        self._tracer, self._mistakes = tracer, mistakes
        self._pool = WorkerPool(WORKERS, 64)
        self._seen: dict[int, int] = {}

    def submit(self, lane: str, fn: Callable[..., Any], *args: Any) -> Future[Any]:
        under_a_span = trace.get_current_span().get_span_context().is_valid
        submitters = context.get_current() if under_a_span and not self._mistakes.no_copy else None
        return self._pool.submit(self._run, submitters, lane, fn, args)

    def close(self) -> None:
        self._pool.shutdown()

    def _run(self, submitters: context.Context | None, lane: str, fn: Callable[..., Any], args: tuple[Any, ...]) -> Any:
        worker = self._seen.setdefault(threading.get_ident(), len(self._seen) + 1)
        tokens = [] if submitters is None else [context.attach(submitters)]
        span = self._tracer.start_span(fn.__name__, attributes={"lane": lane, "worker": worker})
        tokens.append(context.attach(trace.set_span_in_context(span)))
        try:
            return fn(*args)
        finally:
            span.end()
            while tokens and not self._mistakes.no_detach:
                context.detach(tokens.pop())


def _process_item(seconds: float) -> None:
    time.sleep(seconds)


def _sweep_cache() -> None:
    time.sleep(0.8)


_process_item.__name__, _sweep_cache.__name__ = "process_item", "sweep_cache"


def _request(tracer: Tracer, pool: _CarelessPool, label: str, early_end: bool) -> None:
    span = tracer.start_span("process_request", attributes={"lane": label})
    with trace.use_span(span):
        lasts = _ITEMS[label][1]
        futures = [pool.submit(f"{label}{n}", _process_item, seconds) for n, seconds in enumerate(lasts, 1)]
        time.sleep(0.25)
        if early_end:
            span.end()
        wait(futures)
    if not early_end:
        span.end()


@functools.cache
def record(mistakes: Mistakes) -> tuple[tuple[ReadableSpan, ...], tuple[Traced, ...]]:
    """The spans of one round, as the SDK made them and as the pictures need them; the pool has run a round before."""
    recorder = SpanRecorder()

    def program() -> None:
        pool = _CarelessPool(recorder.tracer, mistakes)
        for _ in range(2):
            recorder.clear()
            began = time.monotonic()
            requests = []
            for label, (at, _) in _ITEMS.items():
                time.sleep(began + at - time.monotonic())
                args = (recorder.tracer, pool, label, mistakes.early_end)
                requests.append(threading.Thread(target=_request, args=args))
                requests[-1].start()
            time.sleep(began + _SWEEP_AT - time.monotonic())
            pool.submit("sweep", _sweep_cache)
            for request in requests:
                request.join()
            time.sleep(began + ROUND - time.monotonic())
        pool.close()

    VirtualTime().run(program)
    spans = recorder.spans
    return spans, tuple(sorted(_traced(spans), key=lambda each: LANES.index(each.lane)))


def _traced(spans: Sequence[ReadableSpan]) -> Iterator[Traced]:
    epoch = min(span.start_time or 0 for span in spans) - round(_ITEMS["A"][0] * 1e9)
    by_id = {span.context.span_id: span for span in spans}

    def seconds(instant: int | None) -> float:
        return round(((instant or epoch) - epoch) / 1e9, 6)

    for span in spans:
        attributes = dict(span.attributes or {})
        lane = str(attributes["lane"])
        parent = None if span.parent is None else by_id.get(span.parent.span_id)
        above = None
        if span.parent is not None:  # a span whose parent is of the round before hangs in that round's trace
            above = "before" if parent is None else str((parent.attributes or {})["lane"])
        owner = lane[0] if lane[0] in _ITEMS else None
        kind = "request" if lane in _ITEMS else "own" if above == owner else "orphan" if above is None else "stray"
        ended = seconds(parent.end_time) if parent is not None else None
        worker = attributes.get("worker")
        yield Traced(
            lane,
            worker if isinstance(worker, int) else None,
            kind,
            above,
            seconds(span.start_time),
            seconds(span.end_time),
            ended,
        )


class TracingSimulation:
    """Replays rounds for the live panel. The switches, named as in `MISTAKES`, count from the next round on.

    Memory is bounded by the spans of two rounds.
    """

    def __init__(self, **mistakes: bool) -> None:
        for flags in itertools.product((False, True), repeat=len(MISTAKES)):
            record(Mistakes(*flags))  # here, in the caller's thread: a panel's own thread only replays
        self.now = 0.0
        self._wanted = Mistakes(**mistakes)
        self._round = self._wanted
        self._told: dict[str, list[list[Any]]] = {"workers": [], "spans": [], "tasks": []}

    def set(self, control: str, value: float) -> None:
        """Turn a switch on (not 0) or off. Raises KeyError for a switch that is not there."""
        if control not in MISTAKES:
            raise KeyError(f"no switch {control!r}: choose {', '.join(MISTAKES)}")
        self._wanted = Mistakes(**{**vars(self._wanted), control: bool(value)})

    def step(self, dt: float) -> None:
        """Advance by `dt` simulated seconds; every full second makes one column."""
        end = self.now + dt
        while self.now < end:
            until = min(end, float(int(self.now) + 1))
            if self.now % ROUND == 0.0:
                self._round = self._wanted
            self._tell(self.now, until)
            self.now = until

    def frame(self) -> Frame:
        """What happened since the last frame: see `Frame`."""
        told, self._told = self._told, {pane: [] for pane in self._told}
        panes: dict[str, Any] = dict(told)
        words, tone = self._words()
        return {"t": self.now, "words": words, "tone": tone, "news": words, "panes": panes}

    def _tell(self, since: float, until: float) -> None:
        began = since - since % ROUND
        a, b = since - began, until - began
        for each in record(self._round)[1]:
            for start, end, kind in _parts(each):
                if (start < b and a <= end) and start < end:
                    colour = "half-open" if kind == "request" else KINDS[kind][1]
                    bar = [began + start, began + end if end <= b else None, colour]
                    self._told["spans"].append([each.lane, *bar, _label(each, kind)])
                    if each.worker is not None:
                        self._told["workers"].append([f"worker {each.worker}", *bar, each.lane])
        if until == int(until):
            kinds = [
                _parts(each)[-1][2]
                for each in record(self._round)[1]
                if each.kind != "request" and until - 1.0 < began + each.end <= until
            ]
            self._told["tasks"].append([until, *(kinds.count(kind) for kind in KINDS)])

    def _words(self) -> tuple[str, str]:
        spans = record(self._round)[1]
        tasks = [each for each in spans if each.kind != "request" and each.lane != "sweep"]
        own = [each for each in tasks if each.kind == "own"]
        sweep = next(each for each in spans if each.lane == "sweep")
        told = [f"{len(own)} of {len(tasks)} items are in their own request's trace"]
        if any(_parts(each)[-1][2] == "late" for each in own):
            told.append("request A looks as if it took 0.25 s")
        if sweep.parent is not None:
            told.append("the sweep hangs below a span that it has nothing to do with")
        fine = len(told) == 1 and len(own) == len(tasks)
        return "; ".join(told) + ".", "accepted" if fine else "failed"


def _parts(each: Traced) -> list[tuple[float, float, str]]:
    """A span as one bar, or as two where it outlives its parent: (start, end, kind)."""
    if each.kind == "own" and each.parent_end is not None and each.parent_end < each.end:
        cut = max(each.start, each.parent_end)
        return [(each.start, cut, "own"), (cut, each.end, "late")]
    return [(each.start, each.end, each.kind)]


def _label(each: Traced, kind: str) -> str:
    if kind == "request":
        return f"process_request {each.lane}"
    if kind == "stray":
        return "in an old trace" if each.parent == "before" else f"below {each.parent}"
    return {"own": "", "late": "late", "orphan": "no parent"}[kind]
