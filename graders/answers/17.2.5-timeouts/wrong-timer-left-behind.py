# wrong: the timer is not taken back: it cancels the caller later
# fails: error-names-the-level, results-and-errors-pass-unchanged, retries-share-one-total
# says: it raised CancelledError
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
    task, loop, expired = asyncio.current_task(), asyncio.get_running_loop(), False

    def expire():
        nonlocal expired
        expired = True
        task.cancel()

    timer = loop.call_later(limit.remaining(), expire)
    try:
        return await fn(limit)
    except asyncio.CancelledError:
        if expired and task.uncancel() == 0:
            raise TimeoutError(f"{limit.name}: time is up") from None
        raise

# %% solution="hierarchy"
def validate_hierarchy(tree, path=""):
    path += tree["name"]
    for child in tree.get("children", ()):
        if child["timeout"] >= tree["timeout"]:
            raise InvalidHierarchy(f"{path}/{child['name']}")
        validate_hierarchy(child, path + "/")
