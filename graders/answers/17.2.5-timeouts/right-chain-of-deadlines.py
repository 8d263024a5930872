# right: each deadline knows its parent and asks the whole chain; the error is made by the tightest; the offender comes from a generator
# %% solution="deadline"
class Deadline:
    def __init__(self, seconds, clock, name, parent=None):
        self._start, self._seconds, self._clock = clock(), seconds, clock
        self.name, self.parent = name, parent

    @classmethod
    def after(cls, seconds, clock=time.monotonic, name=None):
        return cls(seconds, clock, name or "unnamed")

    def chain(self):
        yield self
        if self.parent is not None:
            yield from self.parent.chain()

    def mine(self):
        return self._start + self._seconds - self._clock()

    def remaining(self):
        return max(0.0, min(each.mine() for each in self.chain()))

    def error(self):
        return TimeoutError(f"the limit of {min(self.chain(), key=lambda each: each.mine()).name} was reached")


async def call_with_deadline(fn, timeout, parent=None, *, name=None):
    deadline = Deadline(timeout, time.monotonic, fn.__name__ if name is None else name, parent)
    if deadline.remaining() <= 0:
        raise deadline.error()
    try:
        async with asyncio.timeout(deadline.remaining()):
            try:
                result = "value", await fn(deadline)
            except TimeoutError as error:
                result = "error", error
    except TimeoutError:
        raise deadline.error() from None
    kind, what = result
    if kind == "error":
        raise what
    return what

# %% solution="hierarchy"
def offenders(node, path):
    for child in node.get("children") or []:
        below = f"{path}/{child['name']}"
        if node["timeout"] <= child["timeout"]:
            yield below
        yield from offenders(child, below)


def validate_hierarchy(tree):
    for path in offenders(tree, tree["name"]):
        raise InvalidHierarchy(path)
