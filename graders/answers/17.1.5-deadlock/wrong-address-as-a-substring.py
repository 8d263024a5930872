# wrong: asks whether the text of one thread contains the address: one address is the beginning of another
# fails: a-lock-is-its-address
# says: it returned ['http-8']
# %% solution="find-deadlock"
import re

def find_deadlock(dump):
    waits, locked = {}, {}
    name = None
    for line in dump.splitlines():
        if header := re.match(r'Thread 0x[0-9A-F]+ \(([a-z+]+)\): "(.*)"$', line):
            name = header[2] if header[1] == "idle" else None
            locked[name] = ""
        elif name and (lock := re.match(r"\s*- waiting to lock <(.+?)>", line)):
            waits[name] = lock[1]
        elif name and re.match(r"\s*- locked <", line):
            locked[name] += line
    for start in waits:
        path = [start]
        while path[-1] in waits:
            after = next((name for name in waits if waits[path[-1]] in locked[name]), None)
            if after is None:
                break
            if after in path:
                return path[path.index(after):]
            path.append(after)
    return []

# %% solution="cache-and-db"
import threading

class DB:
    def __init__(self, rows):
        self.rows = rows
        self.lock = threading.RLock()
        self.cache = None

    def query(self, key):
        with self.lock:
            return self.rows.get(key)

    def update(self, key, value):
        with self.lock:
            self.rows[key] = value
            self.cache.set(key, value)


class Cache:
    def __init__(self, db):
        self.db = db
        self.lock = db.lock
        self.entries = {}
        db.cache = self

    def get(self, key):
        with self.lock:
            if key not in self.entries:
                self.entries[key] = self.db.query(key)
            return self.entries[key]

    def set(self, key, value):
        with self.lock:
            self.entries[key] = value
