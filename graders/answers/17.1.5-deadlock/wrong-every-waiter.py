# wrong: names every thread that waits for a lock
# fails: slow-is-no-deadlock, finds-the-cycle, waiters-outside-are-not-named, active-threads-are-not-stuck, a-lock-is-its-address, names-are-taken-whole, other-lines-are-free
# says: [], for there is no cycle
# %% solution="find-deadlock"
import re

def find_deadlock(dump):
    waiting, name = [], None
    for line in dump.splitlines():
        if header := re.match(r'Thread 0x[0-9A-F]+ \([a-z+]+\): "(.*)"$', line):
            name = header[1]
        elif re.match(r"\s*- waiting to lock <", line):
            waiting.append(name)
    return waiting

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
