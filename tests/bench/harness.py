"""Times code beside its peers in one run: rounds alternate between the subjects, so a slow minute slows all of them.

Invariant: a figure is the minimum over rounds of one subject, and every ratio compares minima of the same run. Garbage
is collected before each round and not during it. Ratios travel between machines; nanoseconds do not.

`overheads` and `ratios` are the two kinds of table. Each wants a subject named `OURS`; `overheads` also wants `DIRECT`.
"""

from __future__ import annotations

import asyncio
import gc
import os
import platform
import statistics
import threading
import time
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

__all__ = [
    "CALLS_PER_SECOND",
    "DIRECT",
    "MICROSECONDS",
    "OURS",
    "THREADS",
    "Call",
    "Figure",
    "Loop",
    "Table",
    "async_loop",
    "loop",
    "machine",
    "measure",
    "nothing",
    "nothing_async",
    "on_threads",
    "overheads",
    "ratios",
    "render",
    "wait_1_ms",
]

DIRECT, OURS = "direct call", "ours"
THREADS = 8

Loop = Callable[[int], object]
"""Performs its operation the given number of times, in as little code of its own as it can."""
Call = tuple[Callable[..., Any], tuple[Any, ...]]
"""A function and its arguments: calling it calls the protected function once."""
Unit = tuple[str, Callable[[float], str]]
"""The heading of a column, and nanoseconds per operation as that column says them."""

CALLS_PER_SECOND: Unit = ("calls/s", lambda ns: f"{1e9 / ns:,.0f}")
MICROSECONDS: Unit = ("µs a call", lambda ns: f"{ns / 1000:,.1f}")


@dataclass(frozen=True)
class Figure:
    """What one subject cost: nanoseconds per operation in its best round, and how much worse the median round was."""

    ns: float
    noise: float


@dataclass(frozen=True)
class Table:
    """One measurement, ready to print."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = ()


def measure(subjects: Mapping[str, Loop], *, number: int, rounds: int) -> dict[str, Figure]:
    """Run every subject `number` times per round, one after the other, for `rounds` rounds after one to warm up.

    Each round starts with another subject, so none always follows the same one. Many rounds of a millisecond or two
    find an undisturbed one even on a busy machine; few long rounds do not.
    """
    names = list(subjects)
    times: dict[str, list[float]] = {name: [] for name in names}
    collecting = gc.isenabled()
    try:
        for turn in range(-1, rounds):
            first = turn % len(names)
            gc.collect()
            gc.disable()
            for name in names[first:] + names[:first]:
                perform = subjects[name]
                start = time.perf_counter_ns()
                perform(number)
                elapsed = time.perf_counter_ns() - start
                if turn >= 0:
                    times[name].append(elapsed / number)
    finally:
        if collecting:
            gc.enable()
    return {name: Figure(min(taken), statistics.median(taken) / min(taken) - 1) for name, taken in times.items()}


def overheads(
    pattern: str, title: str, loops: Mapping[str, Loop], peers: Collection[str], *, number: int, rounds: int
) -> Table:
    """What each subject adds to a direct call, and whether ours adds at most as much as the cheapest of `peers`."""
    figures = measure(loops, number=number, rounds=rounds)
    floor = figures.pop(DIRECT).ns
    added = {name: figure.ns - floor for name, figure in figures.items()}
    ours = added[OURS]
    cheapest = min(peers, key=lambda name: added[name])
    return Table(
        f"{pattern}: {title}",
        (pattern, "ours ÷ it", "adds ns", "noise"),
        tuple((name, f"{ours / ns:.2f}", f"{ns:,.0f}", f"{figures[name].noise:.0%}") for name, ns in added.items()),
        (
            f"a direct call takes {floor:,.0f} ns",
            f"target: at most 1.0 × the cheapest of its peers, {cheapest}: "
            f"{'met' if ours <= added[cheapest] else 'missed'}",
        ),
    )


def ratios(pattern: str, title: str, loops: Mapping[str, Loop], unit: Unit, *, number: int, rounds: int) -> Table:
    """What an operation of each subject costs, all of it, in `unit`."""
    figures = measure(loops, number=number, rounds=rounds)
    ours = figures[OURS].ns
    heading, said = unit
    return Table(
        f"{pattern}: {title}",
        (pattern, "ours ÷ it", heading, "noise"),
        tuple((name, f"{ours / each.ns:.2f}", said(each.ns), f"{each.noise:.0%}") for name, each in figures.items()),
    )


def nothing() -> None:
    """The cheapest function to protect."""


async def nothing_async() -> None:
    """The cheapest coroutine function to protect."""


def wait_1_ms() -> None:
    """A call that lets other threads run."""
    time.sleep(0.001)


def loop(call: Callable[..., Any], args: tuple[Any, ...] = ()) -> Loop:
    """Calls one after the other."""

    def calls(number: int) -> None:
        for _ in range(number):
            call(*args)

    return calls


def async_loop(call: Callable[..., Awaitable[Any]], args: tuple[Any, ...] = ()) -> Loop:
    """Awaits one after the other, in an event loop of their own."""

    async def calls(number: int) -> None:
        for _ in range(number):
            await call(*args)

    return lambda number: asyncio.run(calls(number))


def on_threads(calls: Loop) -> Loop:
    """The same operations, shared out to `THREADS` threads."""

    def crowd(number: int) -> None:
        threads = [threading.Thread(target=calls, args=(number // THREADS,)) for _ in range(THREADS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    return crowd


def render(table: Table) -> str:
    """The table as text, its figures aligned to the right."""
    lines = [table.columns, *table.rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(table.columns))]
    text = [table.title]
    for line in lines:
        first, *rest = (
            cell.rjust(width) if at else cell.ljust(width)
            for at, (cell, width) in enumerate(zip(line, widths, strict=True))
        )
        text.append("  " + "  ".join([first, *rest]).rstrip())
    text.extend(f"  {note}" for note in table.notes)
    return "\n".join(text)


def machine() -> str:
    """What the nanoseconds belong to."""
    return f"{platform.python_implementation()} {platform.python_version()}, {os.cpu_count()} cores"
