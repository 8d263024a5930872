"""What a trace needs around it: spans kept in memory, told as a tree, exported for Jaeger, and tied to log lines.

Invariant: nothing here is global and nothing starts a thread: a recorder has a provider of its own, and spans reach it
in the thread that ended them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from typing import Any

from opentelemetry import trace
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode, format_span_id, format_trace_id

from shared.observability.contracts import correlation_id

__all__ = ["SpanRecorder", "add_trace_context", "in_tree_order", "jaeger_json", "trace_tree"]


class SpanRecorder:
    """A tracer whose spans stay in memory as they end. Thread-safe.

    `service` is the name under which a tracing backend would show them.
    """

    def __init__(self, service: str = "shop") -> None:
        self._exporter = InMemorySpanExporter()
        self._provider = TracerProvider(
            resource=Resource({SERVICE_NAME: service}),
            shutdown_on_exit=False,
        )
        self._provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.tracer: trace.Tracer = self._provider.get_tracer("course")

    @property
    def spans(self) -> tuple[ReadableSpan, ...]:
        """The spans that have ended, in the order of their ends."""
        return self._exporter.get_finished_spans()

    def clear(self) -> None:
        """Forget the spans that have ended."""
        self._exporter.clear()


def in_tree_order(spans: Sequence[ReadableSpan]) -> Iterator[tuple[int, ReadableSpan]]:
    """(depth, span), each span under its parent, siblings by their start; a span whose parent is not there is a root.

    Of spans that start at the same instant the longest comes first.
    """
    known = {span.context.span_id for span in spans}
    children: dict[int | None, list[ReadableSpan]] = {}
    for span in sorted(spans, key=lambda span: (span.start_time or 0, -(span.end_time or 0))):
        parent = span.parent.span_id if span.parent is not None and span.parent.span_id in known else None
        children.setdefault(parent, []).append(span)
    waiting = [(0, root) for root in reversed(children.get(None, []))]
    while waiting:
        depth, span = waiting.pop()
        yield depth, span
        waiting += [(depth + 1, child) for child in reversed(children.get(span.context.span_id, []))]


def trace_tree(spans: Sequence[ReadableSpan]) -> str:
    """The spans as indented lines, in seconds from the first start: what a tracing backend shows, as text."""
    first = min((span.start_time or 0 for span in spans), default=0)
    lines, traces = [], 0
    for depth, span in in_tree_order(spans):
        if depth == 0:
            traces += 1
            lines.append(f"trace {traces}")
        start, end = ((instant or first) - first for instant in (span.start_time, span.end_time))
        name = "  " * (depth + 1) + span.name
        marks = [f"{key}={value!s}" for key, value in (span.attributes or {}).items()]
        if span.status.status_code is StatusCode.ERROR:
            marks.append("ERROR")
        lines.append(f"{name:<30} {start / 1e9:5.2f} – {end / 1e9:5.2f} s  {' '.join(marks)}".rstrip())
    return "\n".join(lines)


def jaeger_json(spans: Sequence[ReadableSpan]) -> dict[str, Any]:
    """The spans in the JSON that Jaeger's UI opens ("Search" → "JSON File") and its query API returns.

    Times are microseconds, as there; ids are hexadecimal. `json.dump` what this returns.
    """
    traces: dict[str, dict[str, Any]] = {}
    for span in sorted(spans, key=lambda span: span.start_time or 0):
        identifier = format_trace_id(span.context.trace_id)
        found = traces.setdefault(identifier, {"traceID": identifier, "spans": [], "processes": {}, "warnings": None})
        service = str(span.resource.attributes.get(SERVICE_NAME, "unknown_service"))
        processes = found["processes"]
        process = next((key for key, value in processes.items() if value["serviceName"] == service), None)
        if process is None:
            process = f"p{len(processes) + 1}"
            processes[process] = {"serviceName": service, "tags": []}
        found["spans"].append(_jaeger_span(span, process))
    return {"data": list(traces.values()), "total": 0, "limit": 0, "offset": 0, "errors": None}


def add_trace_context(
    logger: object, method: str, event: MutableMapping[str, Any]
) -> Mapping[str, Any] | str | bytes | bytearray | tuple[Any, ...]:
    """A structlog processor: gives each line `correlation_id`, `trace_id` and `span_id`, those that there are."""
    if (correlation := correlation_id.get()) is not None:
        event["correlation_id"] = correlation
    context = trace.get_current_span().get_span_context()
    if context.is_valid:
        event["trace_id"] = format_trace_id(context.trace_id)
        event["span_id"] = format_span_id(context.span_id)
    return event


def _jaeger_span(span: ReadableSpan, process: str) -> dict[str, Any]:
    start, end = span.start_time or 0, span.end_time or span.start_time or 0
    trace_id = format_trace_id(span.context.trace_id)
    references = []
    if span.parent is not None:
        parent = format_span_id(span.parent.span_id)
        references.append({"refType": "CHILD_OF", "traceID": format_trace_id(span.parent.trace_id), "spanID": parent})
    tags = [_tag(key, value) for key, value in (span.attributes or {}).items()]
    tags.append(_tag("span.kind", (span.kind or SpanKind.INTERNAL).name.lower()))
    if span.status.status_code is not StatusCode.UNSET:
        tags.append(_tag("otel.status_code", span.status.status_code.name))
    if span.status.status_code is StatusCode.ERROR:
        tags += [_tag("error", True), _tag("otel.status_description", span.status.description or "")]
    logs = [
        {
            "timestamp": event.timestamp // 1000,
            "fields": [
                _tag("event", event.name),
                *(_tag(key, value) for key, value in (event.attributes or {}).items()),
            ],
        }
        for event in span.events
    ]
    return {
        "traceID": trace_id,
        "spanID": format_span_id(span.context.span_id),
        "operationName": span.name,
        "references": references,
        "startTime": start // 1000,
        "duration": (end - start) // 1000,
        "tags": tags,
        "logs": logs,
        "processID": process,
        "warnings": None,
    }


def _tag(key: str, value: Any) -> dict[str, Any]:
    for kind, name in ((bool, "bool"), (int, "int64"), (float, "float64"), (str, "string")):
        if isinstance(value, kind):
            return {"key": key, "type": name, "value": value}
    return {"key": key, "type": "string", "value": json.dumps(value, default=str)}
