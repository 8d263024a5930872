# right: no lock at all: an update replaces the key's stamp, and an entry counts only while its stamp is the current one; recursion over the waits
# %% solution="find-deadlock"
import re
from dataclasses import dataclass, field


@dataclass
class Stack:
    name: str
    state: str
    waiting: str = ""
    locked: list = field(default_factory=list)


def parse(dump):
    stacks = []
    for line in dump.splitlines():
        if found := re.fullmatch(r'Thread (0x[0-9A-F]+) \((idle|active|active\+gil)\): "(?P<name>.+)"', line):
            stacks.append(Stack(found["name"], found[2]))
        elif found := re.match(r" +- waiting to lock <(.*?)>", line):
            stacks[-1].waiting = found[1]
        elif found := re.match(r" +- locked <(.*?)>", line):
            stacks[-1].locked.append(found[1])
    return stacks


def find_deadlock(dump):
    stacks = [stack for stack in parse(dump) if stack.state == "idle"]

    def chase(stack, seen):
        if stack.name in seen:
            return seen[seen.index(stack.name):]
        for other in stacks:
            if stack.waiting in other.locked:
                return chase(other, seen + [stack.name])
        return []

    return next((cycle for cycle in (chase(stack, []) for stack in stacks) if cycle), [])

# %% solution="cache-and-db"
class DB:
    def __init__(self, rows):
        self.rows = rows
        self.stamps = {}

    def stamp(self, key):
        return self.stamps.get(key)

    def query(self, key):
        return self.rows.get(key)

    def update(self, key, value):
        self.rows[key] = value
        self.stamps[key] = object()  # one bytecode: whatever was read before this is stale from here on


class Cache:
    def __init__(self, db):
        self.db = db
        self.entries = {}
        db.cache = self

    def get(self, key):
        entry = self.entries.get(key)
        if entry is not None and entry[0] is self.db.stamp(key):
            return entry[1]
        stamp = self.db.stamp(key)  # before the row: a later stamp makes the entry stale, never the other way round
        value = self.db.query(key)
        self.entries[key] = stamp, value
        return value

    def set(self, key, value):
        self.entries[key] = self.db.stamp(key), value
