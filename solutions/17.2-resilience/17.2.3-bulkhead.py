# %% [markdown] id="title"
# # 17.2.3 — A bulkhead: two tenants, and only one of them sinks
#
# | | |
# |---|---|
# | **Time** | 60–90 minutes |
# | **Difficulty** | ●●●○○ |
# | **You need** | `threading` (`Semaphore` or `Condition`), exceptions across threads, [17.2.1](17.2.1-circuit-breaker.ipynb) helps |
# | **You write** | one class, `Bulkhead`, about 30 lines |
# | **You can say afterwards** | why a shared pool shares its outages, and who pays when a call times out but does not stop |

# %% readonly="setup"
import queue
import threading
import time
from concurrent.futures import Future, wait

from graders.kit import checks_for
from shared.resilience.contracts import TenantLimit

check = checks_for("17.2.3")

# %% [markdown] id="incident"
# ## The incident
#
# **03:12.** A student on the free plan discovers your report API, and a `for` loop. Forty reports a second, each of which takes the
# database 3 s.
#
# Your service has one pool of 16 threads for everybody. After half a second free's reports sit on nearly all of them, and the
# queue before the pool is full of more. Your premium customers' calls, 12 a second and 0.4 s each, find no thread and no
# seat in the queue. They pay for an SLA of 2 s. They get errors. No backend is down. No premium call is slow. *They just never run.*
#
# ![Two panels over 90 seconds. With one pool of 16, free's calls take nearly all places from 20 s to 60 s, and premium's calls are refused or time out. With 10 places for premium and 6 for free, premium is served all the time.](figure:shared.widgets.bulkhead.incident_figure)
#
# On the right, the same flood meets 10 threads for premium and 6 for free. Not one thread more. Free's loop still hurts: *free*.

# %% [markdown] id="idea"
# ## The idea
#
# A ship's hull is divided by walls, the bulkheads. A hole floods one compartment, and the ship stays afloat. Here a compartment is a
# **tenant's share of the pool**, and it has two numbers: its *places*, `max_concurrent`, and the *seats* of its waiting room, `max_waiting`. Who runs
# holds the *permit* of a place.
#
# ```mermaid
# flowchart LR
#     A[submit] -->|a place is free| R["runs<br/>at most max_concurrent"]
#     A -->|all places taken| W["waits<br/>at most max_waiting"]
#     A -->|both full| F[queue.Full, at once]
#     W -->|a place gets free| R
#     W -->|timeout| T1["TimeoutError<br/>leaves, never runs"]
#     R -->|ends| V["value or exception<br/>permit is back first"]
#     R -->|timeout| T2["TimeoutError<br/>runs on, keeps its permit"]
# ```
#
# Why is the waiting room bounded? Little's law. With $c$ places, calls of $s$ seconds, and $w$ calls waiting before you, you wait about
#
# $$\text{wait} \approx \frac{(w + 1)\,s}{c}$$
#
# Free's 6 places and 3 s a call: the 7th in the queue waits over 3 s. With a timeout of 2 s it has already lost. A longer queue serves
# nobody. It only makes people wait for their refusal.
#
# **The hard part is the timeout.** It frees the *caller*. It does not free the *thread*: nothing can stop a thread that runs. So the permit
# stays out until the function really ends. A bulkhead that hands it on at once counts 6 and runs 12.

# %% [markdown] id="worked-case-intro"
# ### The smallest worked case
#
# One place, one seat to wait. Each call runs 2 s, and they come half a second apart. The timeout is 3 s. Time is simulated.

# %% golden=true id="worked-case"
def worked_case():
    from shared.resilience.bulkhead import Bulkhead as Reference
    from shared.simulation import VirtualTime

    def caller(number, bulkhead):
        try:
            bulkhead.submit("free", lambda: time.sleep(2.0), timeout=3.0)
            how = "served"
        except (queue.Full, TimeoutError) as error:
            how = f"{type(error).__name__}: {error}"
        print(f"at {time.monotonic():.1f} s  call {number}: {how}")

    def program():
        bulkhead = Reference({"free": TenantLimit(max_concurrent=1, max_waiting=1)})
        for number in (1, 2, 3):
            threading.Thread(target=caller, args=(number, bulkhead)).start()
            time.sleep(0.5)
        time.sleep(5.0)

    VirtualTime().run(program)


worked_case()

# %% [markdown] id="worked-case-after"
# Call 2 is the one to look at. It waited 1.5 s, ran 1.5 s of its 2 s, and its caller left at 3.5 s. Its function ran on until 4 s, for nobody,
# *on free's only place*.

# %% [markdown] id="predict"
# ## Predict
#
# Before you run anything, write down your answers.
#
# 1. One place, no waiting room. A call runs 10 s, its timeout is 1 s. At 5 s another call comes. Does it run, wait, or get refused?
# 2. One place, one seat. A call runs 10 s. At 1 s a second one comes, with a timeout of 2 s. At 5 s a third one comes. Where does it go?
#    How many functions have run at 20 s?
# 3. Two tenants, a pool of their own each, and a `ThreadPoolExecutor` for each pool, as in many listings. Free sends 100 calls at once.
#    How many are refused?
#
# <details><summary>Compare</summary>
#
# 1. Refused with `queue.Full`. The first caller left at 1 s, but its function runs until 10 s and holds the permit.
# 2. Into the waiting room: the second caller left it at 3 s. Two functions have run, the first and the third. If yours says three, a ghost ran.
# 3. None. The queue of a `ThreadPoolExecutor` has no bound. Premium is safe, and free's 100th caller waits for a long time. You will see below
#    what that costs.
#
# </details>

# %% [markdown] id="play-intro"
# ## Play
#
# Premium and free, five seconds of simulated time for each second of yours. Press **Flood of free** and watch premium's p99 below (99 of 100
# calls had their answer at least that fast). Then
# switch to **Two pools**, with the flood still on. How long does it take until premium is well? Why not at once?
#
# Then play premium's part: with two pools, how many premium calls a second can you send until *it* starves, beside an idle free?
# That is the price of a wall.
#
# No kernel? The picture shows both runs.
#
# ![Premium's p99 over 90 seconds. With one shared pool it rises to the timeout of 2 s while free floods; with two pools it does not move. Below: most of free's calls are refused at once during its flood.](figure:shared.widgets.bulkhead.bulkhead_storyboard)

# %% id="play"
from shared.widgets.bulkhead import bulkhead_playground

bulkhead_playground()

# %% [markdown] id="unbounded-intro"
# ### The listing that is half right
#
# One pool per tenant, and `submit` looks up the pool. That is the usual listing, and premium *is* safe. But nothing bounds what waits
# in front of a pool. Free's own callers pay. Here is free's pool: 40 calls at once, 4 threads, 1 s a call, and each caller gives up
# after 2 s.

# %% golden=true id="unbounded"
def pool_per_tenant():
    from concurrent.futures import ThreadPoolExecutor

    from shared.simulation import VirtualTime

    def program():
        ended = []
        with ThreadPoolExecutor(4) as free:
            for _ in range(40):
                free.submit(lambda: (time.sleep(1.0), ended.append(time.monotonic())))
        in_time = sum(instant <= 2.0 for instant in ended)
        print(f"{in_time} of 40 callers got an answer within 2 s")
        print(f"{len(ended) - in_time} calls ran for nobody, the last one ended at {max(ended):.0f} s")

    VirtualTime().run(program)


pool_per_tenant()

# %% [markdown] id="unbounded-after"
# For eight seconds free's threads worked for callers who were gone. With 4 places and 4 seats, 32 callers are refused at once and can do
# something sensible, and nobody works for nobody.

# %% [markdown] id="build"
# ## Build
#
# You are given, from the setup cell, `TenantLimit(max_concurrent, max_waiting)`, and `queue`, `threading`, `time`, `Future`, `wait`.
#
# Write `Bulkhead(limits, clock=time.monotonic)`, where `limits` maps tenants to their `TenantLimit`, with one method
# `submit(tenant, fn, timeout)`. These are all the rules; the checks test nothing else. Times are in seconds.
#
# **Getting in**
# - At most `max_concurrent` functions of a tenant run at a time, side by side. If a place is free, a call begins at once.
# - At most `max_waiting` calls of a tenant wait. When a place gets free, a waiting call begins. Which one is up to you.
# - Places taken and waiting room full: `queue.Full`, at once. `max_waiting=0` means that nobody waits.
# - A tenant that is not in `limits`: `KeyError`, and its function does not run.
# - Subclasses of these exceptions are fine.
#
# **Coming back**
# - `submit` blocks until the outcome is there. It returns the value of `fn()`, or raises the very exception that `fn` raised, whatever its type: a
#   `TimeoutError` or `queue.Full` that comes out of `fn` is an outcome like any other. (No check raises what is no `Exception`, such as `SystemExit`; the reference passes it on.)
# - `timeout` covers waiting *and* running, counted from the call of `submit`. When it is over, the caller gets `TimeoutError`. So `fn` runs in some other
#   thread than the caller's, any thread you like.
#
# **Permits**
# - A call that ends gives its permit back, once, whether it returned or raised.
# - The permit is back *before* the outcome reaches the caller. Whoever asks again at once finds it.
# - A caller that times out while it *waits* is gone: its seat is free, and its function never runs.
# - A call that times out while it *runs* keeps its permit until its function ends. Then the permit is back.
#
# **Always**
# - Tenants share nothing. Whatever free does, premium waits as long as it would without free.
# - All this holds for any number of callers at once. Threads that idle are no leak.

# %% solution="bulkhead"
class Bulkhead:
    """Runs each tenant's calls in that tenant's own places, with a bounded waiting room before them.

    Invariant: a permit is out exactly as long as a function runs, whether or not its caller still waits for it.
    """

    def __init__(self, limits: dict[str, TenantLimit], clock=time.monotonic):
        ### BEGIN SOLUTION
        self._clock = clock
        self._inside = {
            tenant: threading.Semaphore(limit.max_concurrent + limit.max_waiting) for tenant, limit in limits.items()
        }
        self._places = {tenant: threading.Semaphore(limit.max_concurrent) for tenant, limit in limits.items()}
        ### END SOLUTION

    def submit(self, tenant, fn, timeout):
        """Return the value of `fn()` or raise its exception, within `timeout` seconds; else TimeoutError.

        Raises KeyError for an unknown tenant, and queue.Full, at once, when its places and its waiting room are full.
        """
        ### BEGIN SOLUTION
        deadline = self._clock() + timeout
        inside, places = self._inside[tenant], self._places[tenant]
        if not inside.acquire(blocking=False):
            raise queue.Full(f"{tenant} is full")
        if not places.acquire(timeout=timeout):
            inside.release()
            raise TimeoutError(f"{tenant}: no place within {timeout} s")
        outcome = Future()
        threading.Thread(target=self._run, args=(fn, outcome, (places, inside)), daemon=True).start()
        if not wait([outcome], deadline - self._clock()).done:
            raise TimeoutError(f"{tenant}: still running after {timeout} s")
        return outcome.result()

    def _run(self, fn, outcome, permits):
        try:
            settle, result = outcome.set_result, fn()
        except BaseException as error:
            settle, result = outcome.set_exception, error
        for permit in permits:
            permit.release()
        settle(result)
        ### END SOLUTION

# %% [markdown] id="see-intro"
# ## See
#
# Eleven calls of two tenants, your bulkhead beside the reference. Premium has 2 places and 2 seats, free has 1 and 1. Look at the orange bars:
# these functions run on although their callers have left. It is one story; the checks below tell many.

# %% id="see"
from shared.widgets.bulkhead import compare_with_reference

compare_with_reference(Bulkhead)

# %% [markdown] id="check-intro"
# ## Check
#
# One property each. A check that fails shows you the smallest case that breaks it. Time is simulated: a call of 9 s takes no time.

# %% test="places-then-waiting-room-then-full" points=3
check.places_then_waiting_room_then_full(Bulkhead)

# %% test="limits-hold-for-callers-at-once" points=2
check.limits_hold_for_callers_at_once(Bulkhead)

# %% test="timeout-covers-waiting-and-running" points=2
check.timeout_covers_waiting_and_running(Bulkhead)

# %% test="timed-out-waiter-leaves-its-place" points=2
check.timed_out_waiter_leaves_its_place(Bulkhead)

# %% test="timed-out-call-keeps-its-permit" points=3
check.timed_out_call_keeps_its_permit(Bulkhead)

# %% test="permits-come-back-after-errors" points=1
check.permits_come_back_after_errors(Bulkhead)

# %% test="permit-is-back-before-the-outcome" points=2
check.permit_is_back_before_the_outcome(Bulkhead)

# %% test="premium-does-not-feel-free" points=3
check.premium_does_not_feel_free(Bulkhead)

# %% test="outcome-is-the-functions-own" points=1
check.outcome_is_the_functions_own(Bulkhead)

# %% test="unknown-tenant-is-refused" points=1
check.unknown_tenant_is_refused(Bulkhead)

# %% [markdown] id="hints"
# ## Hints
#
# <details><summary>Hint 1: two counts (a nudge)</summary>
#
# Per tenant, count those who *run*, and those who are *in* at all (run or wait). The second may not exceed `max_concurrent + max_waiting`.
# Testing a count and raising it is one step: a lock around both, or a `Semaphore`, whose `acquire(blocking=False)` is that step. Make the
# counts per tenant, and keep no lock while a function runs.
#
# </details>
# <details><summary>Hint 2: who runs the function (the shape)</summary>
#
# The caller must be able to leave while `fn` goes on. So another thread runs `fn`, and the caller waits for a `Future`:
#
# ```
# deadline = clock() + timeout
# get in, or queue.Full
# wait for a place, at most timeout
# start a thread for fn, with a Future
# wait([future], deadline - clock()): done → future.result(), else TimeoutError
# ```
#
# `future.result(timeout)` raises `TimeoutError` for "not yet" *and* when `fn` raised one. `concurrent.futures.wait` tells them apart.
#
# </details>
# <details><summary>Hint 3: four ways out (nearly code)</summary>
#
# | how a call ends | who gives back what |
# |---|---|
# | timeout while waiting | the **caller**: its seat. There is no permit yet, and no thread |
# | `fn` returns | the **thread that ran it**: the permit, and *then* it settles the Future |
# | `fn` raises | the same thread, the same two steps |
# | timeout while running | the caller: **nothing**. The thread does it later, as above |
#
# So the release stands in the thread, after `fn` and before `set_result` or `set_exception`, and nowhere else. A callback of the Future runs too
# late: the caller is awake already.
#
# </details>
#
# ### "I get…"
#
# | You see | Look at |
# |---|---|
# | "let in" with `max_waiting = 0` | `queue.Queue(maxsize=0)` has no bound; the waiting room of 0 has |
# | "2 ran" although there is one place | test and take in one step; or the permit goes back at the timeout, or twice after an error |
# | "refused", though a place should be free | a permit or a seat did not come back: which of the four ways out was it? |
# | `queue.Full` only in some schedules | the outcome is told before the permit is back |
# | TimeoutError, but too late | the second wait starts the timeout again: wait until `deadline` |
# | premium waits under the flood | something is shared: one executor, one lock held while `fn` runs, one count |

# %% [markdown] id="break-it-intro"
# ## Break it
#
# Two walls, and water all the same. Both tenants query one database through a connection pool of 4. Free's queries take 6 s, premium's 0.1 s.
# Run it.

# %% golden=true id="break-it"
def shared_below(connections=4, flood=True):
    from shared.resilience.bulkhead import Bulkhead as Reference
    from shared.simulation import VirtualTime

    def program():
        bulkhead = Reference({"premium": TenantLimit(8, 8), "free": TenantLimit(4, 4)})
        database, took = threading.Semaphore(connections), []

        def query(tenant, seconds):
            def fn():
                with database:
                    time.sleep(seconds)

            started = time.monotonic()
            bulkhead.submit(tenant, fn, 30.0)
            took.append(time.monotonic() - started) if tenant == "premium" else None

        for _ in range(4 if flood else 0):
            threading.Thread(target=query, args=("free", 6.0)).start()
        time.sleep(1.0)
        for _ in range(8):
            threading.Thread(target=query, args=("premium", 0.1)).start()
        time.sleep(30.0)
        return max(took)

    return VirtualTime().run(program)


print(f"slowest premium call: {shared_below(flood=False):.1f} s alone, {shared_below():.1f} s under free's flood")

# %% [markdown] answer="explain-the-leak" points=2
# **Your answer, in at most eight sentences** (a person reads it, no check does): each tenant kept to its limits, so where did the water come
# through? Name two ways to build the missing wall and what each costs. Why would a larger connection pool only move the problem?
#
# <!-- ### BEGIN SOLUTION -->
# - Through the connections: free's four calls, all within its limit, hold all four of them for 6 s. Premium's calls have places, run, and wait *inside*
#   for a connection.
# - A connection pool for each tenant. The price: idle connections, and more of them in all.
# - A limit for free below the number of connections (2 of 4), so that some are always left. The price: less throughput for free, and two numbers that
#   must be changed together.
# - A statement timeout for free's queries bounds how long the water stands. The price: its long reports fail.
# - In a larger pool the database itself is shared: CPU, disks, locks. The flood is as large as it can get, so it fills 40 connections as it filled 4, as
#   soon as free's limit allows it.
# <!-- ### END SOLUTION -->

# %% [markdown] id="production"
# ## In production
#
# | | runs in | waiting room | full | timed out while it runs |
# |---|---|---|---|---|
# | here | a thread per tenant's place | `max_waiting` | `queue.Full` | permit stays out until the end |
# | resilience4j `ThreadPoolBulkhead` (Java) | own pool | `queueCapacity` | `BulkheadFullException` | thread stays busy; add a `TimeLimiter` for the caller |
# | resilience4j `SemaphoreBulkhead` | the caller's thread | callers block up to `maxWaitDuration` | the same exception | no timeout of its own |
# | Polly `AddConcurrencyLimiter` (C#) | the caller | `queueLimit` | `RateLimiterRejectedException` | ends when the cancelled call does |
# | Go | a buffered channel as semaphore, `select` with `ctx.Done()` | goroutines that wait: bound them yourself | your choice | the goroutine runs on unless it looks at `ctx` |
# | Envoy `circuit_breakers` | the proxy | `max_pending_requests` | 503, `x-envoy-overloaded` | the stream is reset, the server may work on |
# | anyio `CapacityLimiter` | tasks, or `to_thread` | no bound | never: it waits | a cancelled caller waits for its thread, which keeps the token; not with `abandon_on_cancel=True` |
#
# - In asyncio a call *can* be stopped: `AsyncBulkhead` cancels it and waits for the end of its clean-up. The permit is out until then, for the same reason.
# - A wall costs capacity: free's idle threads do not help premium. Size each share by Little's law, calls per second × seconds per call, and
#   some slack.
# - Order: fallback(retry(breaker(bulkhead(timeout(call))))). A refusal is not the backend's fault: do not let the breaker count it.
# - Per *dependency* works as per tenant: one compartment for the slow payment API keeps the rest of the shop awake.

# %% [markdown] id="takeaways"
# ### A runbook line
#
# > **`bulkhead_rejected{tenant="free"}` rises, premium is quiet** → the wall holds; nobody needs to get up. Look at free's call duration in the morning.
# > **`bulkhead_running` stays at its limit with few calls coming in** → calls that timed out still run: find what they hang on, and give it a timeout of its
# > own. More places only send more load there.
#
# ### Takeaways
#
# - A shared pool shares its outages. Walls decide in advance who may drown.
# - Bound both numbers: those who run, and those who wait. An unbounded queue is a slow refusal.
# - A timeout frees the caller, not the thread. The permit belongs to the work.
# - A bulkhead isolates what it wraps and nothing below. Ask what is still shared: connections, locks, CPU.
#
# **Next:** [17.2.4 — Fallback](17.2.4-fallback.ipynb): what the user gets, now that the call was refused.
