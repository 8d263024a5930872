# right: the update tells the cache after it has let its lock go; versions keep the order; the graph is peeled from its ends
# %% solution="find-deadlock"
def find_deadlock(dump):
    threads = []
    for line in dump.split("\n"):
        if line.startswith("Thread 0x"):
            front, name = line.split(': "', 1)
            threads.append({"name": name[:-1], "idle": front.endswith("(idle)"), "wants": None, "has": set()})
            continue
        words = line.split()
        if words[:4] == ["-", "waiting", "to", "lock"]:
            threads[-1]["wants"] = words[4]
        elif words[:2] == ["-", "locked"]:
            threads[-1]["has"].add(words[2])
    stuck = [thread for thread in threads if thread["idle"]]
    # Whoever waits for nobody among the stuck goes on; whoever nobody waits for is no part of a cycle.
    while True:
        left = [
            thread
            for thread in stuck
            if any(thread["wants"] in other["has"] for other in stuck)
            and any(other["wants"] in thread["has"] for other in stuck)
        ]
        if len(left) == len(stuck):
            break
        stuck = left
    if not stuck:
        return []
    order = [stuck[0]]
    while len(order) < len(stuck):
        order.append(next(other for other in stuck if order[-1]["wants"] in other["has"]))
    return [thread["name"] for thread in order]

# %% solution="cache-and-db"
import threading


class DB:
    def __init__(self, rows):
        self.rows = rows
        self.versions = {}
        self.lock = threading.Lock()

    def read(self, key):
        with self.lock:
            return self.versions.get(key, 0), self.rows.get(key)

    def query(self, key):
        return self.read(key)[1]

    def update(self, key, value):
        with self.lock:
            self.rows[key] = value
            version = self.versions[key] = self.versions.get(key, 0) + 1
        self.cache.put(key, version, value)


class Cache:
    def __init__(self, db):
        self.db = db
        self.lock = threading.Lock()
        self.known = {}
        db.cache = self

    def get(self, key):
        with self.lock:
            if key in self.known:
                return self.known[key][1]
        version, value = self.db.read(key)
        return self.put(key, version, value)

    def set(self, key, value):
        with self.lock:
            version = self.known[key][0] if key in self.known else 0
            self.known[key] = version, value

    def put(self, key, version, value):
        with self.lock:
            if key not in self.known or self.known[key][0] < version:
                self.known[key] = version, value
            return self.known[key][1]
