# wrong: a cancelled caller waits until the work has ended by itself
# fails: child-gets-the-smaller, nothing-runs-after-its-deadline, error-names-the-level, cancellation-passes-through
# says: it was never told to stop
# %% solution="deadline"
class Deadline:
    def __init__(self, at, clock, name):
        self.at, self.clock, self.name = at, clock, name

    @classmethod
    def after(cls, seconds, clock=time.monotonic, name="deadline"):
        return cls(clock() + seconds, clock, name)

    def remaining(self):
        return self.at - self.clock()


async def call_with_deadline(fn, timeout, parent=None, *, name=None):
    own = Deadline.after(timeout, name=name or fn.__name__)
    limit = parent if parent is not None and parent.at < own.at else own
    if limit.remaining() <= 0:
        raise TimeoutError(f"{limit.name}: no time left")
    task = asyncio.ensure_future(fn(limit))
    try:
        await asyncio.wait({task}, timeout=limit.remaining())
    except asyncio.CancelledError:
        await asyncio.wait({task})
        raise
    if not task.done():
        task.cancel()
        await asyncio.wait({task})
        if task.cancelled():
            raise TimeoutError(f"{limit.name}: time is up")
    return task.result()

# %% solution="hierarchy"
def validate_hierarchy(tree, path=""):
    path += tree["name"]
    for child in tree.get("children", ()):
        if child["timeout"] >= tree["timeout"]:
            raise InvalidHierarchy(f"{path}/{child['name']}")
        validate_hierarchy(child, path + "/")
