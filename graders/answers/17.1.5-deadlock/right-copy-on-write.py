# right: readers see immutable snapshots without a lock, writers take the one lock; a dictionary of successors
# %% solution="find-deadlock"
import re


def find_deadlock(dump):
    locks = re.compile(r"\s*- (waiting to lock|locked) <([^<>]*)>")
    name = None
    wanted, owner = {}, {}
    for line in dump.splitlines():
        if line.startswith("Thread 0x"):
            name = line[line.index('"') + 1 : line.rindex('"')]
            name = name if line[: line.index('"')].endswith(" (idle): ") else None
        elif name is not None and (match := locks.match(line)):
            if match[1] == "locked":
                owner[match[2]] = name
            else:
                wanted[name] = match[2]
    successor = {one: owner[lock] for one, lock in wanted.items() if lock in owner}
    for one in successor:
        trail = {}
        while one in successor and one not in trail:
            trail[one] = len(trail)
            one = successor[one]
        if one in trail:
            return list(trail)[trail[one]:]
    return []

# %% solution="cache-and-db"
import threading
from types import MappingProxyType


class DB:
    def __init__(self, rows):
        self.rows = rows
        self.writers = threading.Lock()

    def query(self, key):
        return self.rows.get(key)

    def update(self, key, value):
        with self.writers:
            self.rows[key] = value
            self.cache.publish(key, value)


class Cache:
    def __init__(self, db):
        self.db = db
        self.snapshot = MappingProxyType({})
        db.cache = self

    def get(self, key):
        snapshot = self.snapshot
        if key in snapshot:
            return snapshot[key]
        with self.db.writers:
            if key not in self.snapshot:
                self.publish(key, self.db.query(key))
            return self.snapshot[key]

    def set(self, key, value):
        with self.db.writers:
            self.publish(key, value)

    def publish(self, key, value):
        """The caller holds the writers' lock."""
        self.snapshot = MappingProxyType({**self.snapshot, key: value})
