"""A deadlock found and a deadlock mended: the cycle in a thread dump, and a cache over a database that cannot hang.

Invariant of the mended pair: no thread waits for one lock while it holds another, so that no cycle of waits can close,
whatever the callers do. What keeps the cache fresh without a second lock are versions: a value enters the cache only
if it is not older than what the cache knows of its key (Nishtala et al., "Scaling Memcache at Facebook", NSDI 2013,
calls the same thing leases).

The wait-for graph is Coffman, Elphick and Shoshani's, "System Deadlocks", ACM Computing Surveys 3(2), 1971. A thread
waits for one lock at a time and a lock has one holder, so the graph has at most one edge out of each thread: following
it from every thread is linear in the length of the dump.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Hashable, MutableMapping
from typing import Any, NamedTuple

__all__ = ["DB", "Cache", "DumpedThread", "find_deadlock", "read_dump"]

_HEADER = re.compile(r'Thread 0x[0-9A-Fa-f]+ \((?P<state>[^()]+)\): "(?P<name>.*)"\s*$')
_LOCK = re.compile(r"\s*- (?P<what>waiting to lock|locked) <(?P<address>[^>]+)>(?: \((?P<label>.*)\))?\s*$")


class DumpedThread(NamedTuple):
    """A thread as a dump shows it. Locks are addresses; `labels` has what the dump calls them."""

    name: str
    state: str
    waits_for: str | None
    holds: tuple[str, ...]
    labels: dict[str, str]

    @property
    def idle(self) -> bool:
        return self.state == "idle"


def read_dump(dump: str) -> list[DumpedThread]:
    """The threads of a dump in the layout of `thread_dump`, in its order. Lines that it does not know say nothing."""
    threads: list[DumpedThread] = []
    for line in dump.splitlines():
        if header := _HEADER.match(line):
            threads.append(DumpedThread(header["name"], header["state"], None, (), {}))
        elif threads and (lock := _LOCK.match(line)):
            thread, address = threads[-1], lock["address"]
            thread.labels[address] = lock["label"] or ""
            if lock["what"] == "locked":
                threads[-1] = thread._replace(holds=(*thread.holds, address))
            else:
                threads[-1] = thread._replace(waits_for=address)
    return threads


def find_deadlock(dump: str) -> list[str]:
    """The names of the threads that wait for each other in a cycle, in wait-for order; [] if there is no cycle.

    Only idle threads count: one that runs may yet release what it holds. If there are several cycles, the one whose
    thread comes first in the dump.
    """
    idle = [thread for thread in read_dump(dump) if thread.idle]
    holder = {lock: thread for thread in idle for lock in thread.holds}
    followed: set[str] = set()
    for thread in idle:
        path: list[str] = []
        here: DumpedThread | None = thread
        while here is not None and here.name not in followed:
            followed.add(here.name)
            path.append(here.name)
            here = holder.get(here.waits_for or "")
        if here is not None and here.name in path:
            return path[path.index(here.name) :]
    return []


class _Entry(NamedTuple):
    version: int
    value: Any


class DB:
    """Rows behind a lock, which is held for one row operation and never while anything else is called.

    `cache`, if there is one, is told of every update after the lock is free. Any thread may call any method.
    """

    def __init__(self, rows: MutableMapping[Any, Any]) -> None:
        self.cache: Cache | None = None
        self._rows = rows
        self._lock = threading.Lock()
        self._version = 0

    def query(self, key: Hashable) -> Any:
        """The row, or None where there is none."""
        return self.read(key).value

    def read(self, key: Hashable) -> _Entry:
        """The row, or None, with the version of the table in which it was read."""
        with self._lock:
            return _Entry(self._version, self._rows.get(key))

    def update(self, key: Hashable, value: Any) -> None:
        """Write the row. A `Cache.get` that starts after this has returned sees `value`, or a later one."""
        with self._lock:
            self._rows[key] = value
            self._version += 1
            entry = _Entry(self._version, value)
        if self.cache is not None:
            self.cache.offer(key, entry)


class Cache:
    """What was read from `db` or written to it, by key; absent rows are kept as None. Unbounded.

    Any thread may call any method. Threads that miss the same key at the same time each read the row.
    """

    def __init__(self, db: DB) -> None:
        self._db = db
        self._entries: dict[Hashable, _Entry] = {}
        self._lock = threading.Lock()
        db.cache = self

    def get(self, key: Hashable) -> Any:
        """The value of `key`, or None where there is no row."""
        with self._lock:
            entry = self._entries.get(key)
        return self.offer(key, self._db.read(key)).value if entry is None else entry.value

    def set(self, key: Hashable, value: Any) -> None:
        """Put `value` in for what is cached now; the next update of `key` replaces it. The table does not change."""
        version = self._db.read(key).version
        self.offer(key, _Entry(version, value))

    def offer(self, key: Hashable, entry: _Entry) -> _Entry:
        """Take `entry` in unless the cache knows something newer of `key`; return what it has now."""
        with self._lock:
            known = self._entries.get(key)
            if known is None or entry.version >= known.version:
                self._entries[key] = known = entry
            return known
