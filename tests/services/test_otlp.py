"""Spans of the traced pool go out by OTLP over HTTP, through a real collector, and keep their tree.

The collector is rotel, whose program comes with its package from PyPI. It receives on loopback ports and hands on, by
OTLP again, to a receiver of this file, which decodes what arrives with OpenTelemetry's own protobuf messages.
"""

from __future__ import annotations

import contextlib
import gzip
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Tracer

from shared.observability.contracts import correlation_id, process_item
from shared.observability.traced_worker_pool import TracedWorkerPool, process_request
from shared.observability.worker_pool import WorkerPool

rotel = pytest.importorskip("rotel", reason="rotel is missing: pip install rotel==0.0.1a15")

_PATIENCE = 20.0


class Sink:
    """The spans that have arrived, in any order."""

    def __init__(self) -> None:
        self._spans: list[Span] = []
        self._arrived = threading.Condition()

    def take(self, body: bytes) -> bytes:
        request = ExportTraceServiceRequest.FromString(body)
        found = [span for resource in request.resource_spans for scope in resource.scope_spans for span in scope.spans]
        with self._arrived:
            self._spans += found
            self._arrived.notify_all()
        return ExportTraceServiceResponse().SerializeToString()

    def spans(self, correlation: str, count: int) -> list[Span]:
        """All spans with this correlation id, once there are `count`; fails where they do not come."""

        def mine() -> list[Span]:
            return [span for span in self._spans if _attributes(span).get("correlation_id") == correlation]

        with self._arrived:
            if not self._arrived.wait_for(lambda: len(mine()) >= count, _PATIENCE):
                pytest.fail(f"only {len(mine())} of {count} spans arrived within {_PATIENCE:g} s")
            return mine()


@contextlib.contextmanager
def serving(sink: Sink) -> Iterator[int]:
    """The port of an OTLP/HTTP receiver on loopback."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            answer = sink.take(gzip.decompress(body) if self.headers["Content-Encoding"] == "gzip" else body)
            self.send_response(200)
            self.send_header("Content-Type", "application/x-protobuf")
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, format: str, *arguments: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), name="otlp-sink", daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@contextlib.contextmanager
def collecting(sink_port: int, folder: Path) -> Iterator[int]:
    """The port on which a real collector receives OTLP over HTTP; it hands everything on to `sink_port`."""
    http, grpc = _free_port(), _free_port()
    command = [
        str(Path(rotel.__file__).with_name("rotel-agent")), "start",
        "--otlp-http-endpoint", f"127.0.0.1:{http}",
        "--otlp-grpc-endpoint", f"127.0.0.1:{grpc}",
        "--exporter", "otlp",
        "--otlp-exporter-endpoint", f"http://127.0.0.1:{sink_port}",
        "--otlp-exporter-protocol", "http",
        "--batch-timeout", "50ms",
        "--pid-file", str(folder / "rotel.pid"),
    ]  # fmt: skip
    with open(folder / "rotel.log", "wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, cwd=folder)
    try:
        _await_port(http, process, folder / "rotel.log")
        yield http
    finally:
        process.terminate()
        try:
            process.wait(_PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def _await_port(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline, pause = time.monotonic() + _PATIENCE, threading.Event()
    while process.poll() is None and time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1.0):
            return
        pause.wait(0.05)
    pytest.fail(f"the collector did not start:\n{log.read_text(errors='replace')[-2000:]}")


@pytest.fixture(scope="module")
def backend(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Sink, int]]:
    sink = Sink()
    with serving(sink) as port, collecting(port, tmp_path_factory.mktemp("otlp")) as collector:
        yield sink, collector


@pytest.fixture
def tracer(backend: tuple[Sink, int]) -> Iterator[Tracer]:
    """A tracer as in production: spans go out in batches, from a thread of the SDK."""
    provider = TracerProvider(resource=Resource({SERVICE_NAME: "shop"}), shutdown_on_exit=False)
    exporter = OTLPSpanExporter(endpoint=f"http://127.0.0.1:{backend[1]}/v1/traces", timeout=_PATIENCE)
    provider.add_span_processor(BatchSpanProcessor(exporter, schedule_delay_millis=50))
    yield provider.get_tracer("test")
    provider.shutdown()


def _attributes(span: Span) -> dict[str, str]:
    return {each.key: each.value.string_value for each in span.attributes}


def _spanning(tracer: Tracer, item: Callable[[], Any]) -> Any:
    with tracer.start_as_current_span("resize", attributes={"correlation_id": correlation_id.get() or ""}):
        return item()


def _requests(tracer: Tracer, items: dict[str, list[Callable[[], Any]]]) -> None:
    """One request per correlation id, all at once, on one pool of two workers."""

    def one(identity: str) -> None:
        correlation_id.set(identity)
        with contextlib.suppress(ValueError):
            process_request(tracer, pool, [partial(_spanning, tracer, item) for item in items[identity]])

    with TracedWorkerPool(2, 64, tracer) as pool:
        threads = [threading.Thread(target=one, args=(identity,)) for identity in items]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


def test_two_requests_at_once_arrive_as_two_whole_trees(backend: tuple[Sink, int], tracer: Tracer) -> None:
    _requests(tracer, {"order-1": [int] * 8, "order-2": [int] * 5})
    for identity, items in (("order-1", 8), ("order-2", 5)):
        spans = backend[0].spans(identity, 1 + 2 * items)
        assert sorted(span.name for span in spans) == sorted(["process_request", *["process_item", "resize"] * items])
        assert len({span.trace_id for span in spans}) == 1
        (request,) = [span for span in spans if span.name == "process_request"]
        tasks = [span for span in spans if span.name == "process_item"]
        assert request.parent_span_id == b""
        assert {span.parent_span_id for span in tasks} == {request.span_id}
        inner = [span.parent_span_id for span in spans if span.name == "resize"]
        assert sorted(inner) == sorted(span.span_id for span in tasks)
        assert all(span.end_time_unix_nano <= request.end_time_unix_nano for span in spans)


def test_what_an_item_raised_arrives_as_the_status_of_its_span(backend: tuple[Sink, int], tracer: Tracer) -> None:
    def fail() -> None:
        raise ValueError("no such photo")

    _requests(tracer, {"order-3": [int, fail]})
    tasks = [span for span in backend[0].spans("order-3", 5) if span.name == "process_item"]
    assert sorted((span.status.code, span.status.message) for span in tasks) == [
        (Status.STATUS_CODE_UNSET, ""),
        (Status.STATUS_CODE_ERROR, "ValueError: no such photo"),
    ]


def test_without_the_context_the_same_tasks_arrive_as_orphans(backend: tuple[Sink, int], tracer: Tracer) -> None:
    def task() -> None:
        with tracer.start_as_current_span("process_item", attributes={"correlation_id": "order-4"}):
            process_item(int)

    attributes = {"correlation_id": "order-4"}
    with tracer.start_as_current_span("process_request", attributes=attributes), WorkerPool(2, 64) as pool:
        for _ in range(8):
            pool.submit(task)
    spans = backend[0].spans("order-4", 9)
    assert all(span.parent_span_id == b"" for span in spans)
    assert len({span.trace_id for span in spans}) == 9
