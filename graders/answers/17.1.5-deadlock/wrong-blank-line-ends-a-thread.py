# wrong: splits the dump at blank lines
# fails: finds-the-cycle, slow-is-no-deadlock, waiters-outside-are-not-named, active-threads-are-not-stuck, a-lock-is-its-address, names-are-taken-whole, other-lines-are-free
# says: it returned ['writer']
# %% solution="find-deadlock"
import re

def find_deadlock(dump):
    waits, holder = {}, {}
    for block in dump.split("\n\n"):
        header = re.search(r'Thread 0x[0-9A-F]+ \(idle\): "(.*)"', block)
        if header is None:
            continue
        for lock in re.findall(r"- waiting to lock <(.+?)>", block):
            waits[header[1]] = lock
        for lock in re.findall(r"- locked <(.+?)>", block):
            holder[lock] = header[1]
    for start in waits:
        path = [start]
        while (after := holder.get(waits.get(path[-1]))) is not None:
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
