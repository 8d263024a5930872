# right: both locks, always the cache's first; the dump is split into threads, then searched depth first
# %% solution="find-deadlock"
import re

HEADER = re.compile(r'^Thread 0x\w+ \((\S+)\): "(.*)"$', re.MULTILINE)


def find_deadlock(dump):
    parts = HEADER.split(dump)[1:]
    threads = [parts[at : at + 3] for at in range(0, len(parts), 3)]
    holds, wants = {}, {}
    for state, name, body in threads:
        if state == "idle":
            holds[name] = set(re.findall(r"^ *- locked <(0x[0-9a-f]+)>", body, re.MULTILINE))
            wants[name] = next(iter(re.findall(r"^ *- waiting to lock <(0x[0-9a-f]+)>", body, re.MULTILINE)), None)
    edges = {one: [other for other in holds if wants[one] in holds[other]] for one in holds}

    def search(name, path):
        if name in path:
            return path[path.index(name):]
        for other in edges[name]:
            if found := search(other, [*path, name]):
                return found
        return []

    for name in edges:
        if found := search(name, []):
            return found
    return []

# %% solution="cache-and-db"
import threading


class DB:
    def __init__(self, rows):
        self._rows = rows
        self._lock = threading.Lock()

    def query(self, key):
        with self._lock:
            try:
                return self._rows[key]
            except KeyError:
                return None

    def update(self, key, value):
        # the order is: cache, then table. Here as everywhere.
        with self.cache._lock:
            with self._lock:
                self._rows[key] = value
            self.cache._entries[key] = value


class Cache:
    def __init__(self, db):
        self._db = db
        self._entries = {}
        self._lock = threading.Lock()
        db.cache = self

    def get(self, key):
        with self._lock:
            try:
                return self._entries[key]
            except KeyError:
                value = self._entries[key] = self._db.query(key)
                return value

    def set(self, key, value):
        with self._lock:
            self._entries[key] = value
