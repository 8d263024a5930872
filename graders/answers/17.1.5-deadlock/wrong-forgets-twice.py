# wrong: removes the key before and after the write: the get that read the old row fills the cache after both
# fails: stays-fresh-whatever-overlaps
# says: it gave 1
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
        self.cache.forget(key)
        with self.lock:
            self.rows[key] = value
        self.cache.forget(key)


class Cache:
    def __init__(self, db):
        self.db = db
        self.lock = threading.Lock()
        self.entries = {}
        db.cache = self

    def get(self, key):
        with self.lock:
            if key in self.entries:
                return self.entries[key]
        value = self.db.query(key)
        with self.lock:
            self.entries[key] = value
        return value

    def forget(self, key):
        with self.lock:
            self.entries.pop(key, None)

    def set(self, key, value):
        with self.lock:
            self.entries[key] = value
