"""Two threads that a reader steps by hand through the locks of a cache and a table: the model behind the playground.

Invariant: a lock has at most one holder, and a step does one thing or waits. So every run is a sequence of thread
names, and all of them can be counted.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

__all__ = ["CACHE", "PROGRAMS", "TABLE", "Program", "Step", "Stepper", "endings"]

CACHE, TABLE = "Cache.lock", "DB.lock"


class Step(NamedTuple):
    """One line of a thread's program: `does` is lock, unlock or work."""

    does: str
    lock: str
    words: str


Program = Mapping[str, Sequence[Step]]
"""Thread → its steps."""


def _take(lock: str) -> Step:
    return Step("lock", lock, f"acquire {lock}")


def _free(lock: str) -> Step:
    return Step("unlock", lock, f"release {lock}")


def _work(words: str) -> Step:
    return Step("work", "", words)


_GET_INSIDE = (_take(CACHE), _take(TABLE), _work("read the row"), _free(TABLE), _work("fill the cache"), _free(CACHE))

PROGRAMS: dict[str, Program] = {
    "opposite order": {
        "get": _GET_INSIDE,
        "update": (
            _take(TABLE),
            _work("write the row"),
            _take(CACHE),
            _work("put it in the cache"),
            _free(CACHE),
            _free(TABLE),
        ),
    },
    "one order": {
        "get": _GET_INSIDE,
        "update": (
            _take(CACHE),
            _take(TABLE),
            _work("write the row"),
            _free(TABLE),
            _work("put it in the cache"),
            _free(CACHE),
        ),
    },
    "one lock at a time": {
        "get": (
            _take(TABLE),
            _work("read row and version"),
            _free(TABLE),
            _take(CACHE),
            _work("fill, unless older"),
            _free(CACHE),
        ),
        "update": (
            _take(TABLE),
            _work("write row and version"),
            _free(TABLE),
            _take(CACHE),
            _work("put, unless older"),
            _free(CACHE),
        ),
    },
}


@dataclass
class Stepper:
    """A run of a program, step by step. `taken` are the threads in the order in which they were stepped."""

    program: Program
    holder: dict[str, str] = field(default_factory=dict)
    waits_for: dict[str, str] = field(default_factory=dict)
    taken: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.at = dict.fromkeys(self.program, 0)

    def can_step(self, thread: str) -> bool:
        """Whether a step of `thread` changes anything: it has not ended, and does not wait for a lock that is held."""
        return not self.ended(thread) and self.waits_for.get(thread) not in self.holder

    def step(self, thread: str) -> str:
        """Let `thread` do its next line; returns what happened, in words."""
        if not self.can_step(thread):
            return f"{thread} has ended." if self.ended(thread) else f"{thread} waits for {self.waits_for[thread]}."
        self.taken.append(thread)
        line = self.program[thread][self.at[thread]]
        if line.does == "lock":
            if line.lock in self.holder:
                self.waits_for[thread] = line.lock
                if self.deadlocked:
                    return "Deadlock: the cycle is closed. CPU: 0 %."
                return f"{thread} waits for {line.lock}, which {self.holder[line.lock]} holds."
            self.waits_for.pop(thread, None)
            self.holder[line.lock] = thread
        elif line.does == "unlock":
            del self.holder[line.lock]
        self.at[thread] += 1
        if self.ended(thread):
            return f"{thread}: {line.words}. It has returned."
        return f"{thread}: {line.words}."

    def ended(self, thread: str) -> bool:
        return self.at[thread] == len(self.program[thread])

    @property
    def deadlocked(self) -> bool:
        return not any(map(self.can_step, self.program)) and not all(map(self.ended, self.program))

    @property
    def cycle(self) -> list[str]:
        """The threads that wait for each other, [] while none do."""
        return list(self.program) if self.deadlocked else []


def endings(name: str) -> tuple[int, int]:
    """Of all ways to interleave the steps of a program: how many end well, and how many in a deadlock."""
    program = PROGRAMS[name]

    @functools.cache
    def count(at: tuple[int, ...]) -> tuple[int, int]:
        # Whoever waits is stepped again only when the lock is free, so the positions say everything.
        here = dict(zip(program, at, strict=True))
        held = {line.lock for thread, place in here.items() for line in _held(program[thread][:place])}
        well = stuck = moves = 0
        for number, thread in enumerate(program):
            if here[thread] == len(program[thread]):
                continue
            line = program[thread][here[thread]]
            if line.does == "lock" and line.lock in held:
                continue
            moves += 1
            more = count((*at[:number], at[number] + 1, *at[number + 1 :]))
            well, stuck = well + more[0], stuck + more[1]
        if moves:
            return well, stuck
        return (1, 0) if all(place == len(program[thread]) for thread, place in here.items()) else (0, 1)

    return count((0,) * len(program))


def _held(done: Sequence[Step]) -> list[Step]:
    held: dict[str, Step] = {}
    for line in done:
        if line.does == "lock":
            held[line.lock] = line
        elif line.does == "unlock":
            del held[line.lock]
    return list(held.values())
