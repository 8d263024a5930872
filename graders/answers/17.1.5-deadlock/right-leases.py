# right: a miss takes a lease, an update cancels it, and only a valid lease may fill; the graph by colours
# %% solution="find-deadlock"
import re


def find_deadlock(dump):
    blocks = re.split(r"^(?=Thread 0x)", dump, flags=re.MULTILINE)
    waits, holders = {}, {}
    for block in blocks:
        head = re.match(r'Thread 0x[0-9A-Fa-f]+ \(idle\): "([^"]*)"', block)
        if head:
            for lock in re.findall(r"\n\s*- locked <([^>]*)>", block):
                holders[lock] = head[1]
            for lock in re.findall(r"\n\s*- waiting to lock <([^>]*)>", block):
                waits[head[1]] = lock
    done = set()
    for name in waits:
        grey = []
        while name in waits and name not in done:
            done.add(name)
            grey.append(name)
            name = holders.get(waits[name])
            if name in grey:
                return grey[grey.index(name):]
    return []

# %% solution="cache-and-db"
import threading


class DB:
    def __init__(self, rows):
        self.rows = rows
        self.lock = threading.Lock()

    def query(self, key):
        with self.lock:
            return self.rows.get(key)

    def update(self, key, value):
        with self.lock:
            self.rows[key] = value
        self.cache.forget(key)


class Cache:
    def __init__(self, db):
        self.db = db
        self.lock = threading.Lock()
        self.entries = {}
        self.leases = {}
        db.cache = self

    def get(self, key):
        with self.lock:
            if key in self.entries:
                return self.entries[key]
            lease = self.leases.setdefault(key, object())
        value = self.db.query(key)
        with self.lock:
            if self.leases.get(key) is lease:
                self.entries[key] = value
        return value

    def set(self, key, value):
        with self.lock:
            self.entries[key] = value

    def forget(self, key):
        with self.lock:
            self.entries.pop(key, None)
            self.leases.pop(key, None)
