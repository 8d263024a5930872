"""Times code beside its peers in one run: rounds alternate between the subjects, so a slow minute slows all of them.

Invariant: a figure is the minimum over rounds of one subject, and every ratio compares minima of the same run. Garbage
is collected before each round and not during it. Ratios travel between machines; nanoseconds do not.
"""

from __future__ import annotations

import gc
import os
import platform
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

__all__ = ["Figure", "Loop", "Table", "measure", "render"]

Loop = Callable[[int], object]
"""Performs its operation the given number of times, in as little code of its own as it can."""


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
                loop = subjects[name]
                start = time.perf_counter_ns()
                loop(number)
                elapsed = time.perf_counter_ns() - start
                if turn >= 0:
                    times[name].append(elapsed / number)
    finally:
        if collecting:
            gc.enable()
    return {name: Figure(min(taken), statistics.median(taken) / min(taken) - 1) for name, taken in times.items()}


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
