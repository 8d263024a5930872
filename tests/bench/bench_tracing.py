"""What a span costs a task: the plain pool, the pool with the context carried, and the traced pool, per task.

Spans go to a processor that drops them, as if a batch processor's thread did the rest: what the worker itself pays.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import wait
from contextvars import copy_context
from typing import Any

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, Sampler

from shared.observability.traced_worker_pool import TracedWorkerPool
from shared.observability.worker_pool import WorkerPool
from tests.bench.harness import Loop, Table, measure

OURS = "traced, every span recorded"
WORKERS, ROOM = 2, 4_096


def tables(quick: bool) -> Iterator[Table]:
    number, rounds = (8, 2) if quick else (1_000, 20)
    pools: dict[str, Any] = {
        "plain pool": WorkerPool(WORKERS, ROOM),
        "context carried, no span": WorkerPool(WORKERS, ROOM),
        "traced, no span recorded": TracedWorkerPool(WORKERS, ROOM, _tracer(ALWAYS_OFF)),
        OURS: TracedWorkerPool(WORKERS, ROOM, _tracer(ALWAYS_ON)),
    }
    try:
        figures = measure(
            {name: _loop(pool, carried=name == "context carried, no span") for name, pool in pools.items()},
            number=number,
            rounds=rounds,
        )
    finally:
        for pool in pools.values():
            pool.shutdown()
    plain = figures["plain pool"].ns
    rows = tuple(
        (name, f"{(figure.ns - plain) / 1000:,.1f}", f"{figure.ns / 1000:,.1f}", f"{figure.noise:.0%}")
        for name, figure in figures.items()
    )
    yield Table(f"tracing: a task on {WORKERS} workers", ("pool", "µs over the plain pool", "µs a task", "noise"), rows)


def _tracer(sampler: Sampler) -> Any:
    provider = TracerProvider(sampler=sampler, resource=Resource.get_empty(), shutdown_on_exit=False)
    provider.add_span_processor(SpanProcessor())
    return provider.get_tracer("bench")


def _loop(pool: Any, carried: bool) -> Loop:
    def loop(number: int) -> None:
        if carried:
            wait([pool.submit(copy_context().run, _task) for _ in range(number)])
        else:
            wait([pool.submit(_task) for _ in range(number)])

    return loop


def _task() -> None:
    pass
