"""The checks of 17.1.2: the spans that a traced pool leaves behind, beside what its tasks and its callers saw.

Invariant: every design that keeps the stated rules passes, however it carries the context and wherever it starts and
ends its spans. So a judge takes the spans as the tracer got them, and compares them with the tasks as they ran: each
task notes which span is current in it and which correlation id it reads.

Spans are numbered as they begin. The order in which they end is the order of the calls of `end`, because virtual time
stands still between two of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Any

from hypothesis import strategies as st
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, Span, SpanProcessor, TracerProvider
from opentelemetry.trace import SpanContext, StatusCode

from graders.kit import Check, Event, History, Mismatch, World
from shared.observability.contracts import correlation_id

REFERENCE = "shared.observability.traced_worker_pool"

_CONTEXT = "Hint 1: who carries the context"
_TASK = "Hint 2: the shape of one task"
_REQUEST = "Hint 3: the request"

_ROOM = 64
"""Tasks that may wait: more than any scenario has, so none is refused."""
_SOON = 0.5
"""Seconds in which a task begins that finds a worker free, and submit comes back."""
_FOREIGN = -1
"""The number of a span that this run did not begin."""


class _Alarm(BaseException):
    """What is no Exception, and no signal either."""


_ENDINGS: dict[str, type[BaseException]] = {
    "ValueError": ValueError,
    "OSError": OSError,
    "TimeoutError": TimeoutError,
    "KeyboardInterrupt": KeyboardInterrupt,
    "SystemExit": SystemExit,
    "a BaseException": _Alarm,
}

Step = dict[str, Any]


# Scenarios


def _step(lasts: float = 0.0, ends: str = "ok") -> Step:
    """A task, or an item of a request: how long it runs, in seconds, and what it raises, unless "ok"."""
    return {"lasts": lasts, "ends": ends}


_LASTS = st.sampled_from([0.0, 1.0, 2.0, 3.0])
_STEPS = st.builds(_step, _LASTS, st.sampled_from(["ok", "ok", *_ENDINGS]))


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _step_in_words(step: Step) -> str:
    lasts = f"{step['lasts']:g} s" if step["lasts"] else "at once"
    return lasts if step["ends"] == "ok" else f"{lasts}, raises {step['ends']}"


def _items_in_words(items: list[Step]) -> str:
    return f"{_count(len(items), 'item')} ({'; '.join(map(_step_in_words, items))})" if items else "no item"


# Beside the answer


class _Recorder(SpanProcessor):
    """Writes every span into the history as it begins, and how it ended when it does."""

    def __init__(self, world: World) -> None:
        self._world = world
        self._events: dict[int, Event] = {}
        self._ends = 0

    def on_start(self, span: Span, parent_context: Context | None = None) -> None:
        number = len(self._events) + 1
        parent = self.number(span.parent)
        under = "a root" if parent is None else f"child of span {parent}" if parent > 0 else "child of an unknown span"
        self._events[span.context.span_id] = self._world.record(
            f"span {number}, {span.name}: {under}", "waiting", span=number, name=span.name, parent=parent
        )

    def on_end(self, span: ReadableSpan) -> None:
        event = self._events[span.context.span_id]
        self._ends += 1
        bad = span.status.status_code is StatusCode.ERROR
        correlation = (span.attributes or {}).get("correlation_id")
        if bad:
            event["what"] += ", ERROR"
        if correlation is not None:
            event["what"] += f", correlation_id {correlation!r}"
        event.update(
            until=self._world.now,
            outcome="ended",
            kind="failed" if bad else "accepted",
            ended=self._ends,
            end=(span.end_time or 0) / 1e9,
            status=span.status.status_code.name,
            correlation=correlation if correlation is None else str(correlation),
        )

    def number(self, context: SpanContext | None) -> int | None:
        """The number of a span; None where there is none."""
        if context is None or not context.is_valid:
            return None
        event = self._events.get(context.span_id)
        return _FOREIGN if event is None else event["span"]

    @property
    def begun(self) -> int:
        return len(self._events)


class _Stage:
    """A pool, a tracer, and tasks that note what they see."""

    def __init__(self, answer: Any, workers: int, world: World) -> None:
        make_pool, self._process_request = answer
        self._world = world
        self._recorder = _Recorder(world)
        provider = TracerProvider(resource=Resource.get_empty(), shutdown_on_exit=False)
        provider.add_span_processor(self._recorder)
        self.tracer = provider.get_tracer("check")
        self.pool = make_pool(workers, _ROOM, self.tracer)
        self._runs = self._calls = 0

    @contextmanager
    def caller(self, name: str | None) -> Iterator[None]:
        """Open a span around what follows, as a caller does; None: open none."""
        if name is None:
            yield
        else:
            with self.tracer.start_as_current_span(name):
                yield

    def task(self, name: str, step: Step, error: BaseException, inner: str | None = None) -> Callable[..., Any]:
        """A function named `name` that returns its argument, or raises `error`."""

        def run(value: Any = None) -> Any:
            self._runs += 1
            sees = self._recorder.number(trace.get_current_span().get_span_context())
            event = self._world.record(f"{name} runs", "waiting", run=name, sees=sees, reads=correlation_id.get())
            if inner is not None:
                with self.tracer.start_as_current_span(inner):
                    pass
            if step["lasts"]:
                self._world.sleep(step["lasts"])
            raises = step["ends"] in _ENDINGS
            event.update(until=self._world.now, outcome="raised" if raises else "returned", error=step["ends"])
            event["kind"] = "failed" if raises else "accepted"
            if raises:
                raise error
            return value

        run.__name__ = name
        return run

    def submit(self, name: str, step: Step, inner: str | None = None) -> Future[Any]:
        """Submit one task, from here."""
        submitted: list[Future[Any]] = []
        self._call(
            f"submit {name}",
            lambda: submitted.append(self.pool.submit(self.task(name, step, _error(step, name), inner), name)),
            call=name,
        )
        return submitted[0] if submitted else Future()

    def request(self, label: str, items: list[Step], correlation: str | None = None) -> None:
        """Process one request, from here. `own`: it raised the very error of its first item that raises."""
        errors = [_error(step, f"{label}{number}") for number, step in enumerate(items, 1)]
        work = [
            _Bound(self.task(f"{label}{number}", step, error), _value(label, number))
            for number, (step, error) in enumerate(zip(items, errors, strict=True), 1)
        ]
        first = next((error for step, error in zip(items, errors, strict=True) if step["ends"] != "ok"), None)
        own = False

        def call() -> Any:
            nonlocal own
            try:
                return self._process_request(self.tracer, self.pool, work)
            except BaseException as error:
                own = error is first
                raise

        token = correlation_id.set(correlation)
        try:
            event = self._call(f"process_request {label}", call, call=label)
            event["own"] = own
        finally:
            correlation_id.reset(token)

    def close(self, seconds: float = 0.0) -> None:
        """Let everything end, and sign the record."""
        self.pool.shutdown()
        self._world.sleep(1.0 + seconds)
        self._world.record(
            "all is quiet",
            outcome="returned",
            until=self._world.now,
            total={"spans": self._recorder.begun, "runs": self._runs, "calls": self._calls},
        )

    def _call(self, what: str, fn: Callable[[], Any], **fields: Any) -> Event:
        self._calls += 1
        event = self._world.call(what, fn, catch=BaseException)
        event.update(fields)
        return event


class _Bound:
    """An item: calls its function with its value."""

    def __init__(self, fn: Callable[[Any], Any], value: Any) -> None:
        self._fn, self._value = fn, value

    def __call__(self) -> Any:
        return self._fn(self._value)


def _error(step: Step, name: str) -> BaseException:
    return _ENDINGS.get(step["ends"], Exception)(f"from {name}")


def _value(label: str, number: int) -> Any:
    """What an item returns: its name, and now and then something falsy."""
    return {2: None, 3: 0}.get(number, f"{label}{number}")


# In the examiner


class _Record:
    """A whole history: its spans by number, its runs and its calls by name. Raises Mismatch where it is not whole."""

    def __init__(self, history: History, *, runs: list[str], calls: list[str]) -> None:
        self.history = history
        self.spans = {event["span"]: (index, event) for index, event in enumerate(history) if "span" in event}
        self.runs: dict[str, tuple[int, Event]] = {}
        self.calls = {event["call"]: (index, event) for index, event in enumerate(history) if "call" in event}
        for index, event in enumerate(history):
            if "run" in event:
                if event["run"] in self.runs:
                    raise Mismatch(expected=f"{event['run']} to run once", observed="it ran twice", at=index)
                self.runs[event["run"]] = (index, event)
        self._must_be_whole(runs, calls)

    def _must_be_whole(self, runs: list[str], calls: list[str]) -> None:
        for name in calls:
            if name not in self.calls:
                raise Mismatch(expected=f"a record of the call {name}", observed="a record without it")
        for name in runs:
            if name not in self.runs:
                raised = [event for _, event in self.calls.values() if event.get("outcome") == "raised"]
                why = "".join(f"; {event['what']} raised {event['error']}: {event['message']}" for event in raised[:1])
                raise Mismatch(expected=f"{name} to run once", observed=f"it never ran{why}")
        total = self.history[-1].get("total") if self.history else None
        told = {"spans": len(self.spans), "runs": len(self.runs), "calls": len(self.calls)}
        if total != told or len(runs) != len(self.runs) or len(calls) != len(self.calls):
            raise Mismatch(expected="a record that is whole to its end", observed=f"one of {told}")
        for index, event in enumerate(self.history):
            if "outcome" in event and "until" in event:
                continue
            if "span" in event:
                raise Mismatch(expected=f"{_named(event)} to end", observed="it never ended", at=index)
            raise Mismatch(expected=f"{event.get('what')} to end", observed="it never ended", at=index)

    def named(self, name: str) -> list[tuple[int, Event]]:
        """The spans of a name, in the order in which they began."""
        return [(index, event) for index, event in self.spans.values() if event["name"] == name]

    def only(self, name: str) -> tuple[int, Event]:
        """The one span of a name."""
        found = self.named(name)
        if len(found) != 1:
            raise Mismatch(
                expected=f"exactly one span named {name}",
                observed=_count(len(found), "such span") + _others(self, found),
                at=found[1][0] if len(found) > 1 else None,
            )
        return found[0]

    def up_to(self, number: int | None, name: str) -> int | None:
        """The number of the nearest span called `name`, from span `number` upwards."""
        while number is not None and number in self.spans:
            event = self.spans[number][1]
            if event["name"] == name:
                return number
            number = event["parent"]
        return None


def _others(record: _Record, found: list[tuple[int, Event]]) -> str:
    names = ", ".join(dict.fromkeys(event["name"] for _, event in record.spans.values()))
    if found:
        return ""
    return f"; the spans are called {names}" if names else "; the tracer got no span at all"


def _named(event: Event) -> str:
    return f"span {event['span']} ({event['name']})"


def _which(record: _Record, number: int | None) -> str:
    """A span in words, by its number."""
    if number is None:
        return "no span"
    if number not in record.spans:
        return "a span that nobody began here"
    return _named(record.spans[number][1])


def _must_have_parent(record: _Record, span: tuple[int, Event], parent: int | None, who: str) -> None:
    index, event = span
    if event["parent"] != parent:
        expected = "a root: no span was current" if parent is None else f"a child of {_which(record, parent)}, {who}"
        observed = "it is a root" if event["parent"] is None else f"it is a child of {_which(record, event['parent'])}"
        raise Mismatch(expected=f"{_named(event)} to be {expected}", observed=observed, at=index)


def _names(label: str, items: list[Any]) -> list[str]:
    return [f"{label}{number}" for number in range(1, len(items) + 1)]


class TaskSpanIsChildOfItsSubmitter(Check):
    """A task has one span, named after its function, a child of the span that was current at submit."""

    hint = _CONTEXT
    scenarios = st.fixed_dictionaries(
        {
            "workers": st.integers(1, 3),
            "under": st.lists(st.booleans(), min_size=1, max_size=5),
            "waits": st.booleans(),
            "lasts": _LASTS,
        }
    )
    examples = 10
    always = (
        {"workers": 1, "under": [True], "waits": True, "lasts": 0.0},
        {"workers": 1, "under": [False], "waits": True, "lasts": 0.0},
        {"workers": 1, "under": [True, False], "waits": True, "lasts": 0.0},
        {"workers": 1, "under": [False, False], "waits": False, "lasts": 0.0},
        {"workers": 1, "under": [True, True, False], "waits": False, "lasts": 1.0},
        {"workers": 1, "under": [True, False, True], "waits": True, "lasts": 1.0},
    )

    def drive(self, answer: Any, scenario: Any, world: World) -> None:
        stage = _Stage(answer, scenario["workers"], world)
        for number, under in enumerate(scenario["under"], 1):
            with stage.caller(f"caller_{number}" if under else None):
                future = stage.submit(f"task_{number}", _step(scenario["lasts"]))
                if scenario["waits"]:
                    future.result()
        stage.close()

    def judge(self, scenario: Any, history: History) -> None:
        names = _names("task_", scenario["under"])
        record = _Record(history, runs=names, calls=names)
        allowed = set(names)
        for number, (name, under) in enumerate(zip(names, scenario["under"], strict=True), 1):
            parent = record.only(f"caller_{number}")[1]["span"] if under else None
            _must_have_parent(record, record.only(name), parent, "current at submit")
            allowed.add(f"caller_{number}")
        for index, event in record.spans.values():
            if event["name"] not in allowed:
                raise Mismatch(
                    expected=f"{_count(len(names), 'span')} for {_count(len(names), 'task')}",
                    observed=f"{_named(event)} besides",
                    at=index,
                )

    def describe(self, scenario: Any) -> str:
        under = ", ".join(
            f"task_{number} under {'a' if under else 'no'} span" for number, under in enumerate(scenario["under"], 1)
        )
        does = "waits for each" if scenario["waits"] else "does not wait for them"
        return f"{_count(scenario['workers'], 'worker')}; {under}; their submitter {does}"


def _must_run_in_a_worker(record: _Record, name: str, at_once: bool) -> None:
    """The task takes a second; its submitter does not. `at_once`: a worker is free for it."""
    (place, call), (index, run) = record.calls[name], record.runs[name]
    if call["until"] > call["t"] + _SOON:
        raise Mismatch(
            expected=f"submit to come back at once: {name} runs in a worker",
            observed=f"it came back at {call['until']:g} s",
            at=place,
        )
    if at_once and run["t"] > call["t"] + _SOON:
        raise Mismatch(
            expected=f"{name} to begin at once: a worker is free", observed=f"it began at {run['t']:g} s", at=index
        )


class SpanIsCurrentWhileTheTaskRuns(Check):
    """While a function runs, in a worker, its task's span is current: spans that it opens are children of it."""

    hint = _TASK
    scenarios = st.fixed_dictionaries(
        {"workers": st.integers(1, 2), "tasks": st.integers(1, 4), "caller": st.booleans()}
    )
    examples = 8
    always = (
        {"workers": 1, "tasks": 1, "caller": False},
        {"workers": 1, "tasks": 2, "caller": True},
        {"workers": 2, "tasks": 2, "caller": True},
    )

    def drive(self, answer: Any, scenario: Any, world: World) -> None:
        stage = _Stage(answer, scenario["workers"], world)
        with stage.caller("caller" if scenario["caller"] else None):
            for number in range(1, scenario["tasks"] + 1):
                stage.submit(f"task_{number}", _step(1.0), inner=f"inside_{number}")
        stage.close()

    def judge(self, scenario: Any, history: History) -> None:
        names = [f"task_{number}" for number in range(1, scenario["tasks"] + 1)]
        record = _Record(history, runs=names, calls=names)
        for number, name in enumerate(names, 1):
            _, span = record.only(name)
            index, run = record.runs[name]
            _must_run_in_a_worker(record, name, number <= scenario["workers"])
            if run["sees"] != span["span"]:
                raise Mismatch(
                    expected=f"{_named(span)} to be current while {name} runs",
                    observed=f"{_which(record, run['sees'])} is current",
                    at=index,
                )
            _must_have_parent(record, record.only(f"inside_{number}"), span["span"], "the task that opened it")
            beside = sum(other["t"] <= run["t"] < other["until"] for _, other in record.runs.values())
            if beside > scenario["workers"]:
                raise Mismatch(
                    expected=f"at most {_count(scenario['workers'], 'task')} to run at once, one in each worker",
                    observed=f"{beside} run when {name} begins",
                    at=index,
                )

    def describe(self, scenario: Any) -> str:
        under = "under a caller's span" if scenario["caller"] else "under no span"
        return (
            f"{_count(scenario['workers'], 'worker')}, {_count(scenario['tasks'], 'task')} {under}; "
            "each opens a span of its own"
        )


class RequestsDoNotMix(Check):
    """Two requests at once: every item's span is in its own request's tree, and no item reads the other's id."""

    hint = _CONTEXT
    scenarios = st.fixed_dictionaries(
        {
            "workers": st.integers(1, 2),
            "a": st.integers(1, 2),
            "b": st.integers(1, 2),
            "lasts": st.sampled_from([0.0, 1.0]),
        }
    )
    examples = 2
    interleavings = 25
    always = (
        {"workers": 1, "a": 1, "b": 1, "lasts": 0.0},
        {"workers": 2, "a": 2, "b": 2, "lasts": 1.0},
    )

    def drive(self, answer: Any, scenario: Any, world: World) -> None:
        stage = _Stage(answer, scenario["workers"], world)
        for label in ("a", "b"):
            items = [_step(scenario["lasts"])] * scenario[label]
            world.start(stage.request, label, items, f"id-{label}", name=f"caller {label}")
        world.join()
        stage.close(4 * scenario["lasts"])

    def judge(self, scenario: Any, history: History) -> None:
        names = {label: [f"{label}{number}" for number in range(1, scenario[label] + 1)] for label in ("a", "b")}
        record = _Record(history, runs=[*names["a"], *names["b"]], calls=["a", "b"])
        taken: dict[int, str] = {}
        mine_of: dict[str, int | None] = {}
        for label, other in (("a", "b"), ("b", "a")):
            mine: int | None = None
            for name in names[label]:
                index, run = record.runs[name]
                request = record.up_to(run["sees"], "process_request")
                if request is None:
                    raise Mismatch(
                        expected=f"{name} to run under the span of request {label}",
                        observed=f"it runs under {_which(record, run['sees'])}, which is below no process_request",
                        at=index,
                    )
                mine = request if mine is None else mine
                if request != mine or taken.get(request, label) != label:
                    raise Mismatch(
                        expected=f"every item of request {label} to run under its own request's span",
                        observed=f"{name} runs under {_which(record, request)}, the span of another request",
                        at=index,
                    )
                if run["reads"] == f"id-{other}":
                    raise Mismatch(
                        expected=f"{name} to read no other id than 'id-{label}'",
                        observed=f"it reads {run['reads']!r}, the id of request {other}",
                        at=index,
                    )
                taken[request] = label
            mine_of[label] = mine
        for label, mine in mine_of.items():
            children = [event for _, event in record.named("process_item") if event["parent"] == mine]
            if len(children) != len(names[label]):
                raise Mismatch(
                    expected=f"{_count(len(names[label]), 'span')} process_item, children of request {label}'s span",
                    observed=f"{len(children)}",
                    at=record.spans[mine][0] if mine is not None else None,
                )

    def describe(self, scenario: Any) -> str:
        return (
            f"{_count(scenario['workers'], 'worker')}; request a of {_count(scenario['a'], 'item')} and request b of "
            f"{_count(scenario['b'], 'item')} at once, from two threads"
        )


class NextTaskSeesNeitherSpanNorId(Check):
    """What a worker did before is gone: its next task, submitted under no span and no id, sees neither."""

    hint = _TASK
    scenarios = st.fixed_dictionaries({"workers": st.integers(1, 2), "items": st.lists(_STEPS, min_size=1, max_size=3)})
    examples = 8
    always = (
        {"workers": 1, "items": [_step()]},
        {"workers": 1, "items": [_step(0.0, "ValueError")]},
        {"workers": 1, "items": [_step(0.0, "a BaseException")]},
        {"workers": 2, "items": [_step(1.0), _step(1.0)]},
    )

    def drive(self, answer: Any, scenario: Any, world: World) -> None:
        stage = _Stage(answer, scenario["workers"], world)

        def come_later() -> None:
            for number in range(1, scenario["workers"] + 1):
                stage.submit(f"next_{number}", _step(1.0))

        world.start(stage.request, "a", scenario["items"], "id-a", name="caller a")
        world.join()
        world.sleep(1.0 + sum(step["lasts"] for step in scenario["items"]))
        world.start(come_later, name="passer-by")
        world.join()
        stage.close()

    def judge(self, scenario: Any, history: History) -> None:
        following = [f"next_{number}" for number in range(1, scenario["workers"] + 1)]
        record = _Record(history, runs=[*_names("a", scenario["items"]), *following], calls=["a", *following])
        for name in following:
            index, run = record.runs[name]
            span = record.only(name)
            _must_have_parent(record, span, None, "")
            if run["sees"] not in (None, span[1]["span"]):
                raise Mismatch(
                    expected=f"{name} to see no span but its own",
                    observed=f"{_which(record, run['sees'])} is current in it",
                    at=index,
                )
            for what, does, found in (("read", "reads", run["reads"]), ("carry", "carries", span[1]["correlation"])):
                if found is not None:
                    raise Mismatch(
                        expected=f"{name} to {what} no correlation id: none was set at submit",
                        observed=f"it {does} {found!r}" + (", the id of the request before" if found == "id-a" else ""),
                        at=index if what == "read" else span[0],
                    )

    def describe(self, scenario: Any) -> str:
        workers = scenario["workers"]
        return (
            f"{_count(workers, 'worker')}; a request with the id 'id-a' and {_items_in_words(scenario['items'])}; then "
            f"{_count(workers, 'task')}, submitted under no span and no id"
        )


class RequestHasOneSpan(Check):
    """A request has one span, process_request: a child of the caller's span, or a root where there is none."""

    hint = _REQUEST
    scenarios = st.fixed_dictionaries(
        {"under": st.lists(st.booleans(), min_size=1, max_size=3), "items": st.integers(0, 3)}
    )
    examples = 8
    always = (
        {"under": [False], "items": 1},
        {"under": [True], "items": 1},
        {"under": [False], "items": 0},
        {"under": [False, False], "items": 1},
        {"under": [True, False, True], "items": 2},
    )

    def drive(self, answer: Any, scenario: Any, world: World) -> None:
        stage = _Stage(answer, 2, world)
        for number, under in enumerate(scenario["under"], 1):
            with stage.caller(f"caller_{number}" if under else None):
                stage.request(f"{number}.", [_step(1.0)] * scenario["items"])
        stage.close(1.0 * scenario["items"] * len(scenario["under"]))

    def judge(self, scenario: Any, history: History) -> None:
        calls = [f"{number}." for number in range(1, len(scenario["under"]) + 1)]
        runs = [name for label in calls for name in _names(label, [None] * scenario["items"])]
        record = _Record(history, runs=runs, calls=calls)
        found = record.named("process_request")
        if len(found) != len(calls):
            raise Mismatch(
                expected=f"{_count(len(calls), 'span')} named process_request for {_count(len(calls), 'request')}",
                observed=f"{len(found)}{_others(record, found)}",
                at=found[len(calls)][0] if len(found) > len(calls) else None,
            )
        for number, (span, under) in enumerate(zip(found, scenario["under"], strict=True), 1):
            parent = record.only(f"caller_{number}")[1]["span"] if under else None
            _must_have_parent(record, span, parent, "the caller's")

    def describe(self, scenario: Any) -> str:
        callers = ", then ".join(
            "one under a caller's span" if under else "one under no span" for under in scenario["under"]
        )
        return f"requests of {_count(scenario['items'], 'item')}, one after the other in one thread: {callers}"


class RequestSpanEndsLast(Check):
    """The request's span ends no earlier than the span of any of its items, whether they return or raise."""

    hint = _REQUEST
    scenarios = st.fixed_dictionaries({"workers": st.integers(1, 2), "items": st.lists(_STEPS, min_size=1, max_size=2)})
    examples = 2
    interleavings = 25
    always = (
        {"workers": 1, "items": [_step()]},
        {"workers": 2, "items": [_step(1.0), _step(2.0)]},
        {"workers": 2, "items": [_step(0.0, "ValueError"), _step(2.0)]},
        {"workers": 2, "items": [_step(0.0, "SystemExit"), _step(2.0)]},
    )

    def drive(self, answer: Any, scenario: Any, world: World) -> None:
        stage = _Stage(answer, scenario["workers"], world)
        stage.request("a", scenario["items"])
        stage.close(sum(step["lasts"] for step in scenario["items"]))

    def judge(self, scenario: Any, history: History) -> None:
        record = _Record(history, runs=_names("a", scenario["items"]), calls=["a"])
        _, request = record.only("process_request")
        items = [each for each in record.spans.values() if each[1] is not request]
        if len(items) < len(scenario["items"]):
            raise Mismatch(
                expected=f"a span for each of {_count(len(scenario['items']), 'item')}", observed=f"{len(items)}"
            )
        for index, item in items:
            if item["ended"] > request["ended"] or item["end"] > request["end"]:
                later = item["until"] - request["until"]
                observed = f"it ended {later:g} s later" if later else "it ended after it, at the same instant"
                raise Mismatch(
                    expected=f"{_named(item)} to end before {_named(request)} does",
                    observed=observed,
                    at=index,
                )

    def describe(self, scenario: Any) -> str:
        return f"{_count(scenario['workers'], 'worker')}, a request of {_items_in_words(scenario['items'])}"


class ResultsInItemOrderOrTheFirstError(Check):
    """A request returns its results in item order; if items raised, it raises the first one's, after all have ended."""

    hint = _REQUEST
    scenarios = st.fixed_dictionaries({"workers": st.integers(1, 3), "items": st.lists(_STEPS, max_size=4)})
    examples = 15
    always = (
        {"workers": 1, "items": []},
        {"workers": 1, "items": [_step()]},
        {"workers": 3, "items": [_step(3.0), _step(2.0), _step(1.0)]},
        {"workers": 1, "items": [_step(0.0, "ValueError")]},
        {"workers": 2, "items": [_step(0.0, "ValueError"), _step(2.0)]},
        {"workers": 2, "items": [_step(2.0, "ValueError"), _step(1.0, "OSError")]},
        {"workers": 2, "items": [_step(1.0, "SystemExit"), _step(2.0)]},
        {"workers": 2, "items": [_step(2.0, "a BaseException"), _step(1.0, "ValueError")]},
        {"workers": 2, "items": [_step(1.0, "TimeoutError"), _step(3.0, "KeyboardInterrupt")]},
    )

    def drive(self, answer: Any, scenario: Any, world: World) -> None:
        stage = _Stage(answer, scenario["workers"], world)
        stage.request("a", scenario["items"])
        stage.close(sum(step["lasts"] for step in scenario["items"]))

    def judge(self, scenario: Any, history: History) -> None:
        items = scenario["items"]
        record = _Record(history, runs=_names("a", items), calls=["a"])
        index, call = record.calls["a"]
        got = (
            f"it raised {call['error']}: {call['message']}"
            if call["outcome"] == "raised"
            else f"it returned {call['value']!r}"
        )
        bad = next((number for number, step in enumerate(items, 1) if step["ends"] != "ok"), None)
        if bad is None:
            values = [_value("a", number) for number in range(1, len(items) + 1)]
            if call["outcome"] != "returned" or call["value"] != values:
                raise Mismatch(expected=f"the request to return {values!r}", observed=got, at=index)
        elif call["outcome"] != "raised" or not call.get("own"):
            raise Mismatch(
                expected=f"the request to raise what its item a{bad} raised: {items[bad - 1]['ends']}",
                observed=got,
                at=index,
            )
        for name, (_, run) in record.runs.items():
            if run["until"] > call["until"]:
                raise Mismatch(
                    expected=f"the request to wait for all items: {name} ends at {run['until']:g} s",
                    observed=f"it came back at {call['until']:g} s",
                    at=index,
                )

    def describe(self, scenario: Any) -> str:
        return f"{_count(scenario['workers'], 'worker')}, a request of {_items_in_words(scenario['items'])}"


class RaisingTaskHasErrorStatus(Check):
    """The span of a task that raises ends with the status ERROR, whatever it raises."""

    hint = _TASK
    scenarios = st.fixed_dictionaries(
        {"ends": st.lists(st.sampled_from(list(_ENDINGS)), min_size=1, max_size=3), "lasts": _LASTS}
    )
    examples = 8
    always = (
        *({"ends": [ends], "lasts": 0.0} for ends in _ENDINGS),
        {"ends": ["SystemExit", "ValueError"], "lasts": 0.0},
    )

    def drive(self, answer: Any, scenario: Any, world: World) -> None:
        stage = _Stage(answer, 1, world)
        for number, ends in enumerate(scenario["ends"], 1):
            stage.submit(f"task_{number}", _step(scenario["lasts"], ends))
        stage.close(scenario["lasts"] * len(scenario["ends"]))

    def judge(self, scenario: Any, history: History) -> None:
        names = _names("task_", scenario["ends"])
        record = _Record(history, runs=names, calls=names)
        for name, ends in zip(names, scenario["ends"], strict=True):
            index, span = record.only(name)
            if span["status"] != "ERROR":
                raise Mismatch(
                    expected=f"{_named(span)} to end with the status ERROR: its function raised {ends}",
                    observed=f"its status is {span['status']}",
                    at=index,
                )

    def describe(self, scenario: Any) -> str:
        return f"1 worker; tasks that raise {', '.join(scenario['ends'])}"


class CorrelationIdIsOnEverySpan(Check):
    """Every span of a request carries its correlation id, and its items read it; where it is None, there is none."""

    hint = _CONTEXT
    scenarios = st.fixed_dictionaries(
        {
            "id": st.sampled_from([None, "", "order-17", "7f3a"]),
            "items": st.lists(st.builds(_step, _LASTS), max_size=3),
            "workers": st.integers(1, 2),
        }
    )
    examples = 8
    always = (
        {"id": "order-17", "items": [_step()], "workers": 1},
        {"id": "order-17", "items": [_step(2.0), _step(1.0), _step()], "workers": 2},
        {"id": None, "items": [_step()], "workers": 1},
        {"id": "", "items": [_step()], "workers": 1},
        {"id": "order-17", "items": [], "workers": 1},
    )

    def drive(self, answer: Any, scenario: Any, world: World) -> None:
        stage = _Stage(answer, scenario["workers"], world)
        stage.request("a", scenario["items"], scenario["id"])
        stage.close(sum(step["lasts"] for step in scenario["items"]))

    def judge(self, scenario: Any, history: History) -> None:
        names, wanted = _names("a", scenario["items"]), scenario["id"]
        record = _Record(history, runs=names, calls=["a"])
        if len(record.spans) < 1 + len(names):
            raise Mismatch(
                expected=f"a span for the request and one for each of {_count(len(names), 'item')}",
                observed=_count(len(record.spans), "span"),
            )
        for index, span in record.spans.values():
            if span["correlation"] != wanted:
                what = (
                    f"the attribute correlation_id {wanted!r}" if wanted is not None else "no attribute correlation_id"
                )
                found = "it has none" if span["correlation"] is None else f"it carries {span['correlation']!r}"
                raise Mismatch(expected=f"{_named(span)} to carry {what}", observed=found, at=index)
        for name in names:
            index, run = record.runs[name]
            if run["reads"] != wanted:
                raise Mismatch(
                    expected=f"correlation_id.get() in {name} to be {wanted!r}",
                    observed=f"it is {run['reads']!r}",
                    at=index,
                )

    def describe(self, scenario: Any) -> str:
        set_to = "None" if scenario["id"] is None else repr(scenario["id"])
        return f"correlation_id is {set_to}; a request of {_items_in_words(scenario['items'])}"
