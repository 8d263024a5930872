# right: a single thread owns rows and entries; everybody else sends it a request and waits
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
import queue
import threading
from concurrent.futures import Future


class Owner:
    def __init__(self):
        self.requests = queue.SimpleQueue()
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self):
        while True:
            fn, args, answer = self.requests.get()
            try:
                answer.set_result(fn(*args))
            except Exception as error:
                answer.set_exception(error)

    def ask(self, fn, *args):
        answer = Future()
        self.requests.put((fn, args, answer))
        return answer.result()


class DB:
    def __init__(self, rows):
        self.rows = rows
        self.owner = Owner()

    def query(self, key):
        return self.owner.ask(self.rows.get, key)

    def update(self, key, value):
        self.owner.ask(self.write, key, value)

    def write(self, key, value):
        self.rows[key] = value
        self.cache.entries[key] = value


class Cache:
    def __init__(self, db):
        self.db = db
        self.entries = {}
        db.cache = self

    def get(self, key):
        return self.db.owner.ask(self.read, key)

    def set(self, key, value):
        self.db.owner.ask(self.entries.__setitem__, key, value)

    def read(self, key):
        if key not in self.entries:
            self.entries[key] = self.db.rows.get(key)
        return self.entries[key]
