"""Spans are kept, told and exported as they are, and log lines name the trace that they belong to."""

from __future__ import annotations

import contextvars
import json
import threading
import time
from typing import Any

import structlog
from opentelemetry.trace import Link, Status, StatusCode, format_span_id, format_trace_id

from shared.observability.contracts import correlation_id
from shared.observability.tracing import SpanRecorder, add_trace_context, in_tree_order, jaeger_json, trace_tree
from shared.simulation import VirtualTime


def recorded() -> SpanRecorder:
    """A request of two items, the second of which fails, and a sweep on its own; virtual time."""
    recorder = SpanRecorder(service="thumbnails")
    tracer = recorder.tracer

    def program() -> None:
        with tracer.start_as_current_span("request", attributes={"correlation_id": "order-1", "items": 2, "vip": True}):
            with tracer.start_as_current_span("item"):
                time.sleep(0.5)
            with tracer.start_as_current_span("item") as item:
                time.sleep(0.25)
                item.add_event("exception", {"exception.type": "ValueError"})
                item.set_status(Status(StatusCode.ERROR, "ValueError: no"))
        time.sleep(1.0)
        with tracer.start_as_current_span("sweep"):
            pass

    VirtualTime().run(program)
    return recorder


def test_spans_are_kept_as_they_end_and_can_be_forgotten() -> None:
    recorder = recorded()
    assert [span.name for span in recorder.spans] == ["item", "item", "request", "sweep"]
    recorder.clear()
    assert recorder.spans == ()


def test_two_recorders_share_nothing_and_start_no_thread() -> None:
    before = threading.active_count()
    one, other = SpanRecorder(), SpanRecorder()
    with one.tracer.start_as_current_span("one"):
        pass
    assert len(one.spans) == 1 and other.spans == ()
    assert threading.active_count() == before


def test_the_tree_is_told_in_words() -> None:
    assert trace_tree(recorded().spans).splitlines() == [
        "trace 1",
        "  request                       0.00 –  0.75 s  correlation_id=order-1 items=2 vip=True",
        "    item                        0.00 –  0.50 s",
        "    item                        0.50 –  0.75 s  ERROR",
        "trace 2",
        "  sweep                         1.75 –  1.75 s",
    ]
    assert trace_tree([]) == ""


def test_a_span_whose_parent_is_missing_is_a_root() -> None:
    first, *_ = recorded().spans
    assert list(in_tree_order([first])) == [(0, first)]


def test_jaegers_json_has_every_span_with_its_parent_and_its_times() -> None:
    spans = recorded().spans
    exported: dict[str, Any] = json.loads(json.dumps(jaeger_json(spans)))
    first, second = exported["data"]
    assert first["processes"] == {"p1": {"serviceName": "thumbnails", "tags": []}}
    assert [span["operationName"] for span in second["spans"]] == ["sweep"]
    by_name = {span["operationName"]: span for span in first["spans"]}
    request, failed = by_name["request"], by_name["item"]
    original = spans[2].get_span_context()
    assert request["traceID"] == format_trace_id(original.trace_id) == first["traceID"]
    assert request["references"] == []
    assert failed["references"] == [
        {"refType": "CHILD_OF", "traceID": request["traceID"], "spanID": format_span_id(original.span_id)}
    ]
    assert request["startTime"] == (spans[2].start_time or 0) // 1000 and request["duration"] == 750_000
    assert {"key": "items", "type": "int64", "value": 2} in request["tags"]
    assert {"key": "vip", "type": "bool", "value": True} in request["tags"]
    assert {"key": "error", "type": "bool", "value": True} in failed["tags"]
    assert failed["logs"][0]["fields"] == [
        {"key": "event", "type": "string", "value": "exception"},
        {"key": "exception.type", "type": "string", "value": "ValueError"},
    ]


def test_values_that_jaeger_does_not_know_are_told_as_text() -> None:
    recorder = SpanRecorder()
    with recorder.tracer.start_as_current_span("a") as a:
        a.set_attributes({"sizes": [1, 2], "ratio": 0.5})
    tags = {tag["key"]: tag for tag in jaeger_json(recorder.spans)["data"][0]["spans"][0]["tags"]}
    assert tags["sizes"] == {"key": "sizes", "type": "string", "value": "[1, 2]"}
    assert tags["ratio"] == {"key": "ratio", "type": "float64", "value": 0.5}


def test_a_link_is_no_parent() -> None:
    recorder = SpanRecorder()
    with recorder.tracer.start_as_current_span("a") as a:
        pass
    with recorder.tracer.start_as_current_span("b", links=[Link(a.get_span_context())]):
        pass
    assert [depth for depth, _ in in_tree_order(recorder.spans)] == [0, 0]


def test_a_log_line_names_its_request_its_trace_and_its_span() -> None:
    recorder, lines = SpanRecorder(), structlog.testing.CapturingLogger()
    log = structlog.wrap_logger(lines, processors=[add_trace_context])

    def request() -> None:
        correlation_id.set("order-1")
        with recorder.tracer.start_as_current_span("request"):
            log.info("inside")

    log.info("outside")
    contextvars.copy_context().run(request)
    outside, inside = (call.kwargs for call in lines.calls)
    assert outside == {"event": "outside"}
    span = recorder.spans[0].get_span_context()
    assert inside == {
        "event": "inside",
        "correlation_id": "order-1",
        "trace_id": format_trace_id(span.trace_id),
        "span_id": format_span_id(span.span_id),
    }
