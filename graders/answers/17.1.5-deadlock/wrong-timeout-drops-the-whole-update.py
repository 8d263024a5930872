# wrong: gives up on the lock before it has written anything, and says nothing
# fails: stays-fresh-whatever-overlaps
# says: to give 2
# %% solution="find-deadlock"
import re

def find_deadlock(dump):
    waits, holder, state, name = {}, {}, None, None
    for line in dump.splitlines():
        if header := re.match(r'Thread 0x[0-9A-F]+ \(([a-z+]+)\): "(.*)"$', line):
            state, name = header.groups()
        elif state == "idle" and (lock := re.match(r"\s*- waiting to lock <(.+?)>", line)):
            waits[name] = lock[1]
        elif state == "idle" and (lock := re.match(r"\s*- locked <(.+?)>", line)):
            holder[lock[1]] = name
    for start in waits:
        path = [start]
        while True:
            after = holder.get(waits.get(path[-1]))
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
        self.lock = threading.Lock()
        self.cache = None

    def query(self, key):
        with self.lock:
            return self.rows.get(key)

    def update(self, key, value):
        with self.lock:
            if self.cache.lock.acquire(timeout=0.1):
                try:
                    self.rows[key] = value
                    self.cache.entries[key] = value
                finally:
                    self.cache.lock.release()


class Cache:
    def __init__(self, db):
        self.db = db
        self.lock = threading.Lock()
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
