# wrong: takes every line with `locked` and an address for a lock that the thread holds
# fails: other-lines-are-free
# says: for there is no cycle
# %% solution="find-deadlock"
_THREAD = re.compile(r'Thread 0x[0-9a-fA-F]+ \((idle|active|active\+gil)\): "([^"]*)"\s*$')
_WAITS = re.compile(r"\s*- waiting to lock <([^>]*)>")
_HOLDS = re.compile(r"\s*- locked <([^>]*)>")


def find_deadlock(dump: str) -> list[str]:
    waits, holder, name = {}, {}, None
    for line in dump.splitlines():
        if header := _THREAD.match(line):
            name = header[2] if header[1] == "idle" else None
        elif name is None:
            continue
        elif wait := _WAITS.match(line):
            waits[name] = wait[1]
        elif held := re.search(r"locked.*<([^>]*)>", line):
            holder[held[1]] = name
    for start in waits:
        path = []
        thread = start
        while thread in waits and thread not in path:
            path.append(thread)
            thread = holder.get(waits[thread])
        if thread in path:
            return path[path.index(thread):]
    return []
# %% solution="cache-and-db"
class DB:
    def __init__(self, rows):
        self.rows = rows
        self.lock = threading.RLock()

    def query(self, key):
        with self.lock:
            return self.rows.get(key)

    def update(self, key, value):
        with self.lock:
            self.rows[key] = value
            self.cache.set(key, value)


class Cache:
    def __init__(self, db):
        self.db, self.lock, self.entries = db, db.lock, {}
        db.cache = self

    def get(self, key):
        with self.lock:
            if key not in self.entries:
                self.entries[key] = self.db.query(key)
            return self.entries[key]

    def set(self, key, value):
        with self.lock:
            self.entries[key] = value
