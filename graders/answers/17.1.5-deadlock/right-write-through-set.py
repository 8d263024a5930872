# right: the cache owns the rules: set writes through, under one lock that both share by name
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

MISSING = object()


class DB:
    def __init__(self, rows):
        self.rows, self.guard = rows, threading.RLock()

    def query(self, key):
        return self.rows.get(key)

    def update(self, key, value):
        self.cache.set(key, value)


class Cache:
    def __init__(self, db):
        self.db, self.guard, self.seen = db, db.guard, {}
        db.cache = self

    def get(self, key):
        value = self.seen.get(key, MISSING)
        if value is MISSING:
            with self.guard:
                value = self.seen.get(key, MISSING)
                if value is MISSING:
                    value = self.seen[key] = self.db.query(key)
        return value

    def set(self, key, value):
        with self.guard:
            self.db.rows[key] = value
            self.seen[key] = value
