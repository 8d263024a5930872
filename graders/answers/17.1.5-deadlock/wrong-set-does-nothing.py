# wrong: set is written for nobody: update keeps the cache fresh by other means, so set does nothing
# fails: second-get-reads-no-row
# says: it read 1 row
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
        self.lock = threading.RLock()
        self.cache = None

    def query(self, key):
        with self.lock:
            return self.rows.get(key)

    def update(self, key, value):
        with self.lock:
            self.rows[key] = value
            self.cache.entries[key] = value


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
        pass
