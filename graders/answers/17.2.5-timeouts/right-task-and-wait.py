# right: a task of its own, asyncio.wait with a timeout, then cancel and wait again; a tree walked with a stack
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
        task.cancel()
        await asyncio.wait({task})
        raise
    if not task.done():
        task.cancel()
        await asyncio.wait({task})
        if task.cancelled():
            raise TimeoutError(f"{limit.name}: time is up")
    return task.result()

# %% solution="hierarchy"
def validate_hierarchy(tree):
    stack = [((tree["name"],), tree)]
    while stack:
        path, node = stack.pop()
        for child in node.get("children", []):
            below = (*path, child["name"])
            if not child["timeout"] < node["timeout"]:
                raise InvalidHierarchy("/".join(below))
            stack.append((below, child))
