# %% [markdown] id="title"
# # 17.2.5 — Timeouts that nest, and work that stops
#
# | | |
# |---|---|
# | **Time** | 60–90 minutes |
# | **Difficulty** | ●●●○○ |
# | **You need** | `async`/`await`, tasks and cancellation, exceptions |
# | **You write** | `Deadline`, `call_with_deadline` and `validate_hierarchy`, about 45 lines |
# | **You can say afterwards** | who still works for a user who has gone, and how one instant stops them all |

# %% readonly="setup"
import asyncio
import time

from graders.kit import checks_for
from shared.resilience.contracts import InvalidHierarchy

check = checks_for("17.2.5")

# %% [markdown] id="incident"
# ## The incident
#
# **03:12.** A missing index turns one query from 30 ms into 25 s. The pages that need it time out after 2 s, as agreed. Users see an error
# and press *reload*. So far, so normal.
#
# But the database does not get better when users give up. It gets worse: each reload starts a **new** query, and the old one is
# still running. The page had a timeout of 2 s. The service behind it had 5 s, its database client 10 s, the query 30 s.
# At 03:15 the database runs 400 queries. Nobody waits for 370 of them.
#
# ![Before: the request ends after 2 s, but the service, the database call and the query go on until 5, 10 and 25 s, drawn in red as orphans. After: with one deadline handed down, all four stop at 2 s.](figure:shared.widgets.timeouts.incident_figure)
#
# Green work ends well, yellow runs into a timeout, and the red rest is done for nobody. Every level had a timeout. That was not the trouble. They were **upside down**, and nobody told the level below.

# %% [markdown] id="idea"
# ## The idea
#
# Two rules.
#
# **A child's timeout is less than its parent's.** Then the child fails first, and the parent still has time to answer with
# something clear:
#
# ```
# request       2 s
#   └── service     1.5 s      it hears of the query's timeout at 0.8 s: 0.7 s left to react
#         └── db        1 s
#               └── sql     0.8 s
# ```
#
# **An instant travels with the request.** A timeout is a *duration*: hand 1.5 s to three tries and you may wait 4.5 s. A **deadline** is
# an *instant*: "done by 12:00:02". Everybody below asks how much of it is left:
#
# $$\text{limit of a call} = \min(\text{its own timeout},\ \text{what its parent has left})$$
#
# When the instant comes, the work is **cancelled**, and the call returns only when the work has really ended. Work that goes on after its
# caller has gone is an **orphan**. It costs as much as any other work, and its result goes nowhere.

# %% [markdown] id="worked-case-intro"
# ### The smallest worked case
#
# A request has 2 s. It tries a slow service again and again, each time with 0.75 s. Watch what the third try gets. (Time is simulated.)

# %% golden=true id="worked-case"
def worked_case():
    from shared.resilience.deadlines import Deadline as Reference
    from shared.resilience.deadlines import call_with_deadline as reference_call
    from shared.simulation import VirtualTime

    async def tries():
        loop = asyncio.get_running_loop()
        start = loop.time()
        request = Reference.after(2.0, clock=loop.time, name="request")
        for number in range(1, 5):
            left = request.remaining()
            try:
                await reference_call(lambda deadline: asyncio.sleep(60), 0.75, request, name="service")
            except TimeoutError as error:
                print(f"try {number}: {max(0, left):.2f} s left  → at {loop.time() - start:.2f} s: {error}")

    VirtualTime().run(lambda: asyncio.run(tries()))


worked_case()

# %% [markdown] id="worked-case-end"
# The third try got 0.5 s, and its error names the *request*: that is the limit that was reached. The fourth was not made at all.

# %% [markdown] id="predict"
# ## Predict
#
# Before you run anything, write down your answers.
#
# 1. The tree above. The query takes 0.9 s. At what instant does the user get an answer, and whose timeout was it?
# 2. A request has 1 s. It calls a service with a timeout of 5 s, which calls a database with 3 s. Which name should the error carry?
# 3. `asyncio.wait({task}, timeout=1)` returns after one second. What does the task do then?
# 4. A function is cancelled at its deadline, and needs 0.3 s to roll back. Should the call return before the rollback or after it?
#
# <details><summary>Compare</summary>
#
# 1. At 0.8 s; the query's own (`sql`). The service has 0.7 s left to say so in a friendly way.
# 2. The request's. The 5 s and the 3 s never came into it. Whoever reads "database timed out" at night looks in the wrong place.
# 3. It goes on. `wait` stops *waiting*, not the work. That is how orphans are made.
# 4. After. If it returns before, the rollback is an orphan: the next try may meet its own predecessor's lock.
#
# </details>

# %% [markdown] id="play-intro"
# ## Play
#
# Four levels, one slider each. The timeouts start **upside down**: red is work that nobody waits for. Press **Nested**. Then make it red
# again, and tick **hand the deadline down**. Last: find timeouts that are nested and still show red.
#
# <details><summary>How?</summary>
#
# 1.9 s under 2 s. A child *starts later* than its parent, here by 0.15 s, so it also ends later. A parent's timeout is more than its
# child's **plus the overhead** between them. Or hand the instant down, and the sum takes care of itself.
#
# </details>
#
# No kernel? The picture shows the four cases.
#
# ![Four levels of a request, four times: nested timeouts leave no orphans; upside down, the lower levels work on in red after the request has gone; with a deadline handed down, everything stops with it.](figure:shared.widgets.timeouts.tree_storyboard)

# %% id="play"
from shared.widgets.timeouts import tree_playground

tree_playground()

# %% [markdown] id="build"
# ## Build
#
# You are given `InvalidHierarchy(path)` from the setup cell. Times are seconds. These are all the rules; the checks test nothing else.
#
# **`Deadline.after(seconds, clock=time.monotonic, name=...)`** makes a deadline that many seconds from now.
# - `remaining()` is what is left: it falls as time passes on `clock`, and is at most 0 after expiry (0 or negative, as you like).
# - Deadlines don't disturb each other, and may be used as parents anywhere, also after the call that made them.
#
# **`await call_with_deadline(fn, timeout, parent=None, *, name=None)`** awaits `fn(deadline)`.
# - Its limit is the smaller of `timeout` and the parent's `remaining()`. `fn` is given a deadline with that limit, to hand on.
# - This level is called `name`, by default `fn.__name__`.
# - *Expired parent:* `fn` is never called. `TimeoutError`, at once; its text names the level that set the limit.
# - *Expiry:* `fn` is cancelled. When it has ended (it may clean up first), `TimeoutError`. Its text names the level **that set the limit**:
#   this one, the parent, or one further up.
# - *Otherwise* the caller gets what `fn` returned or raised, the very object. `TimeoutError`s of `fn` itself, and of levels below,
#   pass unchanged. Afterwards nothing is left behind: no timer hits the caller later.
# - *Cancellation* of the caller reaches `fn`, at once. When `fn` has ended, the caller gets `CancelledError`.
# - Calls one after the other under one parent share its total.
#
# **`validate_hierarchy(tree)`** reads `{"name": ..., "timeout": ..., "children": [...]}`; a leaf may have no `children`.
# - Every child's timeout is less (`<`) than its direct parent's: return None.
# - Otherwise raise `InvalidHierarchy("request/service/db")`: the names from the root to the child. (Tests have at most one offender.)
#
# Several children are not added up: they may run side by side.

# %% solution="deadline"
class Deadline:
    """An instant by which something must have ended, and the name of the level that set it."""

    @classmethod
    def after(cls, seconds, clock=time.monotonic, name="deadline"):
        """The deadline that is `seconds` from now on `clock`."""
        ### BEGIN SOLUTION
        deadline = cls()
        deadline._at, deadline._clock, deadline.name = clock() + seconds, clock, name
        return deadline
        ### END SOLUTION

    def remaining(self):
        """Seconds left: at most 0 after expiry."""
        ### BEGIN SOLUTION
        return self._at - self._clock()
        ### END SOLUTION


async def call_with_deadline(fn, timeout, parent=None, *, name=None):
    """Await `fn(deadline)` within `timeout` and what `parent` has left. No orphans."""
    ### BEGIN SOLUTION
    deadline = parent
    if parent is None or timeout < parent.remaining():
        deadline = Deadline.after(timeout, name=name or fn.__name__)
    if deadline.remaining() <= 0:
        raise TimeoutError(f"no time left: the limit of {deadline.name}")
    own = None
    try:
        async with asyncio.timeout(deadline.remaining()):
            try:
                return await fn(deadline)
            except TimeoutError as error:
                own = error  # of fn, or of a level below
                raise
    except TimeoutError as error:
        if error is own:
            raise
        raise TimeoutError(f"deadline exceeded: the limit of {deadline.name}") from error
    ### END SOLUTION

# %% [markdown] id="build-hierarchy"
# The second part is small, and saves the most: a check of the configuration, before it goes live.

# %% solution="hierarchy"
def validate_hierarchy(tree):
    """None where every child's timeout is less than its parent's; else raise InvalidHierarchy."""
    ### BEGIN SOLUTION
    stack = [(tree["name"], tree)]
    while stack:
        path, node = stack.pop()
        for child in node.get("children", ()):
            child_path = f"{path}/{child['name']}"
            if child["timeout"] >= node["timeout"]:
                raise InvalidHierarchy(child_path)
            stack.append((child_path, child))
    ### END SOLUTION

# %% [markdown] id="see-intro"
# ## See
#
# Your deadlines and the reference, on three requests: a quick query, the one of 0.9 s, and an upside-down tree. Red would be an orphan. The title says where
# their times differ. What your errors *say* is not in the picture; the checks look at that.

# %% id="see"
from shared.widgets.timeouts import compare_with_reference

compare_with_reference(Deadline, call_with_deadline)

# %% [markdown] id="check-intro"
# ## Check
#
# One property each. A check that fails shows you the smallest case that breaks it. Time is simulated: a wait of 8 s takes no time.

# %% test="deadline-counts-down" points=1
check.deadline_counts_down(Deadline)

# %% test="child-gets-the-smaller" points=2
check.child_gets_the_smaller(Deadline, call_with_deadline)

# %% test="expired-parent-starts-nothing" points=1
check.expired_parent_starts_nothing(Deadline, call_with_deadline)

# %% test="nothing-runs-after-its-deadline" points=3
check.nothing_runs_after_its_deadline(Deadline, call_with_deadline)

# %% test="error-names-the-level" points=2
check.error_names_the_level(Deadline, call_with_deadline)

# %% test="results-and-errors-pass-unchanged" points=2
check.results_and_errors_pass_unchanged(Deadline, call_with_deadline)

# %% test="cancellation-passes-through" points=2
check.cancellation_passes_through(Deadline, call_with_deadline)

# %% test="retries-share-one-total" points=2
check.retries_share_one_total(Deadline, call_with_deadline)

# %% test="children-are-shorter" points=2
check.children_are_shorter(validate_hierarchy)

# %% [markdown] id="hints"
# ## Hints
#
# <details><summary>Hint 1: an instant, not a duration (a nudge)</summary>
#
# Keep `clock() + seconds` and subtract the clock when asked. The deadline of a call is *either* the parent itself *or* a new one with this
# level's name, whichever comes first. Then its name is always the right one: you need no other bookkeeping. Ask it once more before
# you call `fn`.
#
# </details>
# <details><summary>Hint 2: stop it, then wait for it (the shape)</summary>
#
# `asyncio.timeout(seconds)` cancels the body, waits until it has ended, and turns *its own* cancellation into `TimeoutError`. Anybody
# else's cancellation passes. What is left for you: which TimeoutErrors are not yours?
#
# ```
# try:
#     async with asyncio.timeout(...):
#         try: return await fn(deadline)
#         except TimeoutError as error: remember it; raise
# except TimeoutError as error:
#     the one that you remember? → raise      else → your own, with the name
# ```
#
# With a task of your own, each way out needs both steps: `task.cancel()`, then wait for it. Also when *you* are cancelled.
#
# </details>
# <details><summary>Hint 3: the tree (nearly code)</summary>
#
# A stack of pairs `(path, node)`, at first the root. Take one; for each child of `node.get("children", ())`: if
# `child["timeout"] >= node["timeout"]` → raise with `path + "/" + child["name"]`; else put the child on the stack with that path.
#
# </details>
#
# ### "I get…"
#
# | You see | Look at |
# |---|---|
# | an orphan after expiry | you stop waiting, but do you cancel? And wait for the end of what you cancelled? |
# | an orphan after cancellation | `asyncio.wait` does not cancel its tasks when you are cancelled |
# | the error names the wrong level | the deadline that `fn` is given has your name, though the limit is your parent's |
# | "with something else" | you replace a TimeoutError that came from below |
# | the caller is cancelled seconds later | a timer (`call_later`) is still running after the call |
# | `CancelledError` becomes `TimeoutError` | you take every cancellation for an expiry |

# %% [markdown] id="break-it-intro"
# ## Break it
#
# Here is the one-liner that everybody writes first. Its second case is a service that has a timeout of its own. Read the three lines.

# %% golden=true id="break-it"
def one_liner():
    from shared.simulation import VirtualTime

    async def rename(fn, timeout, name):
        try:
            return await asyncio.wait_for(asyncio.shield(fn()), timeout)
        except TimeoutError:
            raise TimeoutError(f"{name} timed out") from None

    async def program():
        loop, log = asyncio.get_running_loop(), []

        async def query():
            await asyncio.sleep(3)
            log.append(f"the query ended at {loop.time() - start:.1f} s")

        for name, fn in {"request": query, "service": lambda: rename(query, 0.5, "sql")}.items():
            start = loop.time()
            try:
                await rename(fn, 1.0, name)
            except TimeoutError as error:
                print(f"{error} at {loop.time() - start:.1f} s")
            await asyncio.sleep(5)
        print("; ".join(log))

    VirtualTime().run(lambda: asyncio.run(program()))


one_liner()

# %% [markdown] answer="explain-orphans" points=2
# *In at most eight sentences: what is wrong in each of the three lines above? `shield` has its uses: name one in which an orphan is what
# you want, and say who must then know of it. And: your service calls a library that runs in a thread. What can a deadline do there?*
#
# <!-- ### BEGIN SOLUTION -->
# The first line looks right, but the query goes on: `shield` keeps the cancellation away from it, and 2 s of work are an orphan. The second line names the wrong level: the service had a whole
# second, and the limit that was reached was the 0.5 s of `sql`; `from None` removes even the trace of it. The third line shows both queries at work long after their callers have left. An orphan
# is what you want where stopping halfway is worse than going on, for a commit or a refund say. Somebody must then hold its task, wait for it at shutdown, and log how it ended. A thread can't be
# cancelled: check `remaining()` before you start it, and hand it to whatever blocks in there (a socket's timeout, `statement_timeout`). Where the library takes no timeout, bound the
# number of its threads, or put it into a process that you can kill.
# <!-- ### END SOLUTION -->

# %% [markdown] id="production"
# ## In production
#
# The same thing under other names:
#
# | | what it hands down | what stops the work |
# |---|---|---|
# | Go `context.WithTimeout` | an instant; a child can't outlive its parent | nothing by itself: code must watch `ctx.Done()` |
# | gRPC | `grpc-timeout`, what is left; on to the next server by itself in some languages only | the call is cancelled; in most languages the handler must notice |
# | Polly `TimeoutStrategy` | a `CancellationToken` | code that honours the token (version 7's *pessimistic* mode leaves orphans) |
# | resilience4j `TimeLimiter` | nothing | `cancelRunningFuture` interrupts the thread of a `Future`; that of a `CompletableFuture` goes on |
# | Envoy | `x-envoy-expected-rq-timeout-ms` | it resets the stream; the service must notice |
# | anyio `move_on_after`, `fail_after` | cancel scopes nest: the outer one wins | cancellation, again at each `await` |
# | asyncio `timeout`, `timeout_at` | nothing; nest them by hand, as here | cancellation, once |
#
# - **Use `asyncio.timeout`, not `wait_for`.** On Python 3.11 `wait_for` may swallow a cancellation that comes in the same turn of the loop as
#   the result. 3.12 rebuilt it on `timeout`.
# - **A thread can't be cancelled.** `asyncio.to_thread` under a timeout leaves an orphan. Hand `remaining()` to whatever blocks: sockets,
#   `statement_timeout` in PostgreSQL, `acquire(timeout=...)`.
# - **Across machines hand on what is left, not the instant.** Their clocks differ.
# - **Retries go inside the deadline.** A retry around a timeout, with no total, is a timeout of unknown length.
# - The reference, `shared/resilience/deadlines.py`, adds an error with a `level` attribute, a hook for your metrics, and `raise_if_expired()`
#   for synchronous code.

# %% [markdown] id="composed-intro"
# ## All together
#
# Back to the night that opens this chapter. A payment service has a pool of ten connections; a query holds one for 0.1 s. Then, for 8 s,
# eight times as many requests come. They wait for a connection, with a timeout of 10 s. Nearly all "succeed", the last ones after
# seven seconds. The dashboard's error rate reads 0 %.
#
# Put the section around the query, outermost first. It is the reference's own code, in `shared/widgets/composed_simulation.py`:
#
# ```
# Fallback(live, "taken down, charged later")        for OSError, CircuitOpen, queue.Full
#   call_with_deadline(…, 2.0)                       the user's patience
#     retry_async(…)                                 three tries
#       AsyncCircuitBreaker(…).call(…)               half failed, or over 0.4 s: open
#         AsyncBulkhead(…).submit(…)                 10 run, 10 wait
#           call_with_deadline(query, 0.5, request)  one try
# ```
#
# The payment has a key, so that a second try is harmless. The breaker ignores `queue.Full`.
#
# *All four* is that without the bulkhead. Which row will have the most live answers in time? Guess, then look. (*late*: live, but after
# the user's 2 s. Time is simulated.)

# %% golden=true id="composed"
def composed():
    from shared.widgets.composed_simulation import print_table

    print_table()


composed()

# %% [markdown] id="composed-end"
# ![What users got, second by second, under four of the variants. As it was, answers come late until seven seconds after the burst. Without a breaker retries leave a quarter of the answers live. With all four more are live and the rest get the fallback at once. With a bulkhead the pool is used to the full and nobody waits.](figure:shared.widgets.composed_figures.composed_figure)
#
# | | buys | costs |
# |---|---|---|
# | Fallback | 62 % get an answer instead of an error | it is a promise: somebody must charge them later |
# | Retry | nothing in the burst, which does not pass in 0.2 s; on a quiet night, the one connection in 250 that is lost | 0.1 s of p99; without a breaker, 2.5 queries per request |
# | Breaker | p99 from 1.8 to 0.6 s, live from 25 to 38 %: it stops the retries | while it is open, ten good connections idle |
# | Timeout | p99 from 1.25 to 0.6 s; without it users wait as long as the pool likes | live from 53 to 38 %: it cuts queries that had waited 0.4 s and had just begun |
# | Bulkhead | live from 38 to 62 %, about what ten connections can do; p99 0.3 s | two numbers to size; and a breaker that counted its refusals would bring live down to 35 % |
#
# A timeout in front of a queue spends the pool on those who are about to leave. A breaker answers "is it well?" and the pool *was* well,
# only full. What helps against too much is to refuse at the door. Keep the other four for the night when the database itself is ill.

# %% [markdown] id="takeaways"
# ### A runbook line
#
# > **`db_active_queries` grows while `requests_in_flight` does not** → orphans. Find queries that are older than the longest request
# > (`pg_stat_activity`: `state = 'active'`, `now() - query_start > '2 s'`) and cancel them (`pg_cancel_backend`). Then compare the timeouts, from the root down. Don't raise any.
#
# ### Takeaways
#
# - A timeout that does not stop the work only hides it.
# - Hand down an instant. Durations add up; an instant is shared.
# - The error names the level that set the limit. That is where somebody has to look.
# - A call returns when its work has ended: after expiry, after cancellation, always.
#
# **Next:** section 17.3, backpressure: what to do when the work itself is too much.
