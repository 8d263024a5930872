"""The traced pool carries its submitter's context into every task, and a request's span covers its tasks."""

from __future__ import annotations

import contextvars
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
from opentelemetry import baggage, context, trace
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import StatusCode

from shared.observability.contracts import Saturated, correlation_id
from shared.observability.traced_worker_pool import TracedWorkerPool, process_request
from shared.observability.tracing import SpanRecorder
from shared.simulation import VirtualTime, explore


@pytest.fixture
def recorder() -> SpanRecorder:
    return SpanRecorder()


@pytest.fixture
def pool(recorder: SpanRecorder) -> Iterator[TracedWorkerPool]:
    with TracedWorkerPool(2, 16, recorder.tracer) as made:
        yield made


def named(recorder: SpanRecorder, name: str) -> list[ReadableSpan]:
    return [span for span in recorder.spans if span.name == name]


def is_child(span: ReadableSpan, parent: ReadableSpan | trace.Span) -> bool:
    return span.parent is not None and span.parent.span_id == parent.get_span_context().span_id


def work(value: Any = None) -> Any:
    return value


def test_a_task_is_a_child_of_the_span_that_was_current_at_submit(
    recorder: SpanRecorder, pool: TracedWorkerPool
) -> None:
    with recorder.tracer.start_as_current_span("caller") as caller:
        assert pool.submit(work, 7).result() == 7
    (span,) = named(recorder, "work")
    assert is_child(span, caller)


def test_a_task_submitted_under_no_span_is_a_root_whatever_its_worker_did_before(recorder: SpanRecorder) -> None:
    with TracedWorkerPool(1, 16, recorder.tracer) as pool:
        with recorder.tracer.start_as_current_span("caller"):
            pool.submit(context.attach, context.get_current()).result()  # a task that leaves its context attached
        pool.submit(work).result()
    (span,) = named(recorder, "work")
    assert span.parent is None


def test_a_callable_without_a_name_is_called_by_its_type(recorder: SpanRecorder, pool: TracedWorkerPool) -> None:
    pool.submit(partial(work, 1)).result()
    assert named(recorder, "partial")


def test_every_context_variable_and_the_baggage_reach_the_task(pool: TracedWorkerPool) -> None:
    mine = contextvars.ContextVar("mine", default=0)

    def submit() -> tuple[Any, Any]:
        mine.set(5)
        context.attach(baggage.set_baggage("tenant", "free"))
        return pool.submit(lambda: (mine.get(), baggage.get_baggage("tenant"))).result()

    assert contextvars.copy_context().run(submit) == (5, "free")
    assert pool.submit(mine.get).result() == 0


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt("no"), SystemExit("no"), GeneratorExit("no")])
def test_whatever_a_task_raises_is_the_status_of_its_span_and_the_outcome_of_its_future(
    recorder: SpanRecorder, pool: TracedWorkerPool, error: BaseException
) -> None:
    def fail() -> None:
        raise error

    assert pool.submit(fail).exception() is error
    (span,) = named(recorder, "fail")
    assert span.status.status_code is StatusCode.ERROR
    assert span.status.description == f"{type(error).__name__}: no"
    assert [event.name for event in span.events] == ["exception"]
    assert pool.submit(work, 1).result() == 1


def test_a_refused_task_leaves_no_span(recorder: SpanRecorder) -> None:
    gate = threading.Event()
    with TracedWorkerPool(1, 0, recorder.tracer) as pool:
        running = pool.submit(gate.wait)
        with pytest.raises(Saturated):
            pool.submit(work)
        gate.set()
        running.result()
    assert [span.name for span in recorder.spans] == ["wait"]


def test_the_correlation_id_is_on_the_request_and_on_its_tasks(recorder: SpanRecorder, pool: TracedWorkerPool) -> None:
    def request() -> list[Any]:
        correlation_id.set("order-1")
        return process_request(recorder.tracer, pool, [correlation_id.get] * 2)

    assert contextvars.copy_context().run(request) == ["order-1", "order-1"]
    assert [dict(span.attributes or {}) for span in recorder.spans] == [{"correlation_id": "order-1"}] * 3


def test_without_a_correlation_id_no_span_has_the_attribute(recorder: SpanRecorder, pool: TracedWorkerPool) -> None:
    assert process_request(recorder.tracer, pool, [correlation_id.get]) == [None]
    assert [dict(span.attributes or {}) for span in recorder.spans] == [{}, {}]


def sleeping(seconds: float, error: BaseException | None = None) -> Callable[[], float]:
    def item() -> float:
        time.sleep(seconds)
        if error is not None:
            raise error
        return seconds

    return item


def requested(items: list[Callable[[], Any]], workers: int, queue_size: int = 16) -> tuple[Any, SpanRecorder]:
    """What a request came to, in virtual time, and its spans."""
    recorder = SpanRecorder()

    def program() -> Any:
        with TracedWorkerPool(workers, queue_size, recorder.tracer) as pool:
            try:
                return process_request(recorder.tracer, pool, items)
            except BaseException as error:
                return error

    return VirtualTime().run(program), recorder


def test_results_come_in_the_order_of_the_items() -> None:
    assert requested([sleeping(3.0), sleeping(2.0), sleeping(1.0)], workers=3)[0] == [3.0, 2.0, 1.0]
    assert requested([], workers=1)[0] == []


def test_the_first_error_in_the_order_of_the_items_is_raised_after_all_have_ended() -> None:
    first, second = SystemExit("first"), ValueError("second")
    outcome, recorder = requested([sleeping(2.0, first), sleeping(1.0, second), sleeping(5.0)], workers=3)
    assert outcome is first
    (request,) = named(recorder, "process_request")
    assert ((request.end_time or 0) - (request.start_time or 0)) / 1e9 == 5.0


def test_a_request_that_the_pool_refuses_waits_for_what_it_had_accepted() -> None:
    outcome, recorder = requested([sleeping(1.0)] * 4, workers=1, queue_size=1)
    assert isinstance(outcome, Saturated)
    *items, request = recorder.spans
    assert [span.name for span in items] == ["process_item", "process_item"]
    assert request.name == "process_request" and request.end_time == items[-1].end_time


def test_requests_at_once_never_mix_under_any_schedule() -> None:
    def program() -> None:
        recorder = SpanRecorder()

        def request(label: str) -> None:
            correlation_id.set(label)
            assert process_request(recorder.tracer, pool, [correlation_id.get] * 2) == [label] * 2

        with TracedWorkerPool(2, 8, recorder.tracer) as pool:
            threads = [threading.Thread(target=request, args=(label,)) for label in "ab"]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        ended = list(recorder.spans)
        for label in "ab":
            mine = [span for span in ended if (span.attributes or {})["correlation_id"] == label]
            *items, request_span = mine  # in the order of their ends: the request's is the last
            assert request_span.name == "process_request"
            assert len(items) == 2 and all(is_child(item, request_span) for item in items)

    report = explore(program, schedules=40)
    assert report.ok, str(report)
