# wrong: takes the stamp after the row: the old row gets the new stamp
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
class DB:
    def __init__(self, rows):
        self.rows = rows
        self.stamps = {}

    def query(self, key):
        return self.rows.get(key)

    def update(self, key, value):
        self.rows[key] = value
        self.stamps[key] = object()


class Cache:
    def __init__(self, db):
        self.db = db
        self.entries = {}
        db.cache = self

    def get(self, key):
        entry = self.entries.get(key)
        if entry is None or entry[0] is not self.db.stamps.get(key):
            value = self.db.query(key)
            entry = self.entries[key] = self.db.stamps.get(key), value
        return entry[1]

    def set(self, key, value):
        self.entries[key] = self.db.stamps.get(key), value
