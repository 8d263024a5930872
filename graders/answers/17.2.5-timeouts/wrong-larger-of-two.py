# wrong: takes the later of the two instants
# fails: child-gets-the-smaller, expired-parent-starts-nothing, error-names-the-level, results-and-errors-pass-unchanged, retries-share-one-total
# says: one with 1.5625 s left
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
    limit = parent if parent is not None and parent.at > own.at else own
    if limit.remaining() <= 0:
        raise TimeoutError(f"{limit.name}: no time left")
    passed = None
    try:
        async with asyncio.timeout(limit.remaining()):
            try:
                return await fn(limit)
            except TimeoutError as error:
                passed = error
                raise
    except TimeoutError as error:
        if error is passed:
            raise
        raise TimeoutError(f"{limit.name}: time is up") from None

# %% solution="hierarchy"
def validate_hierarchy(tree, path=""):
    path += tree["name"]
    for child in tree.get("children", ()):
        if child["timeout"] >= tree["timeout"]:
            raise InvalidHierarchy(f"{path}/{child['name']}")
        validate_hierarchy(child, path + "/")
