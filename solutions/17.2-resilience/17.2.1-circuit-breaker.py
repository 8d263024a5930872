# %% [markdown] id="title"
# # 17.2.1 — A circuit breaker for errors *and* latency
#
# | | |
# |---|---|
# | **Time** | 60–90 minutes |
# | **Difficulty** | ●●●○○ |
# | **You need** | Python classes, `threading.Lock`, the idea of a sliding window |
# | **You write** | one class, `CircuitBreaker`, about 65 lines |
# | **You can say afterwards** | why a slow backend is worse than a dead one, and what a breaker does about both |

# %% readonly="setup"
import threading
import time
from collections import deque

from graders.kit import checks_for
from shared.resilience.contracts import BreakerConfig, CircuitOpen, State

check = checks_for("17.2.1")

# %% [markdown] id="incident"
# ## The incident
#
# **03:07.** The recommendation service stops failing. That is the bad news: it used to fail in 20 ms; now it *answers*, after 10 s.
#
# Your shop calls it on every page. It has 40 worker threads. At 60 pages a second they are all asleep inside
# `recommendations.get()` within 0.7 s. The error rate on the dashboard reads **0 %**, because nothing has failed yet.
# Every page of the shop is down, also the ones that show no recommendations.
#
# Somebody restarts the shop. Forty fresh threads fall asleep.
#
# ![Two strips over 120 seconds; the backend is slow from 20 to 80 s. Without a breaker all 40 workers are busy within a second and pages stop until the backend is well. With a breaker pages are lost for the 10 s that the first slow answers take; then calls are rejected at once, workers are free and pages are served, while a few probes find out when the backend is well.](figure:shared.widgets.circuit_breaker.incident_figure)
#
# The shop did not need better recommendations. It needed to **stop asking**, and to ask again, *carefully*, later.
#
# Look at the ten bad seconds that are left: a breaker learns from calls that *ended*, and the first slow ones take 10 s to end. A timeout
# inside the call (17.2.5) makes it learn sooner. The two belong together. And look at 80 s: the backend is well, but the breaker rejects
# until its next probes, at 100 s. That is the price of the wait.

# %% [markdown] id="idea"
# ## The idea
#
# A circuit breaker wraps a call and remembers how the last calls went. It is always in one of three states:
#
# ```mermaid
# stateDiagram-v2
#     direction LR
#     [*] --> CLOSED
#     CLOSED --> OPEN: error rate ≥ 50 %<br/>or slow rate ≥ 80 %
#     OPEN --> HALF_OPEN: after the wait,<br/>with the next call
#     HALF_OPEN --> CLOSED: all probes succeed
#     HALF_OPEN --> OPEN: one probe fails or is slow
# ```
#
# **CLOSED**: calls go through. Every result enters a *window* of the last `window_size` calls. Two rates are read from it:
#
# $$\text{error rate} = \frac{\text{failed calls in the window}}{\text{calls in the window}}
# \qquad
# \text{slow rate} = \frac{\text{calls slower than the threshold}}{\text{calls in the window}}$$
#
# Either one at or over *its own* limit opens the breaker. They are two questions, so they are never added up. A call that was slow and failed
# counts in both. With fewer than `min_calls_to_open` results there is no rate yet (or than `window_size`, if that is smaller:
# the window can't hold more).
#
# **OPEN**: calls are rejected with `CircuitOpen`, without being made. The backend gets `wait_duration` seconds of peace.
#
# **HALF_OPEN**: exactly `permitted_calls_in_half_open` calls may try. All of them must come back well.

# %% [markdown] id="worked-case-intro"
# ### The smallest worked case
#
# A window of 4, at least 2 results, limit 50 %. Watch the error rate after each call, and the call that never reached the backend.

# %% golden=true id="worked-case"
def worked_case(results="ok ok fail fail ok"):
    from shared.resilience.circuit_breaker import CircuitBreaker as Reference

    breaker = Reference(BreakerConfig(window_size=4, min_calls_to_open=2), clock=lambda: 0.0)
    seen = []
    for number, result in enumerate(results.split(), 1):
        try:
            breaker.call(lambda: None if result == "ok" else 1 / 0)
        except CircuitOpen as rejected:
            print(f"call {number}: rejected at once, try again in {rejected.retry_after:.0f} s")
            continue
        except ZeroDivisionError:
            pass
        seen = [*seen, result][-4:]
        print(f"call {number}: {result:<5} error rate {seen.count('fail')}/{len(seen)}  → {breaker.state.name}")


worked_case()

# %% [markdown] id="predict"
# ## Predict
#
# Before you run anything, write down your answers.
#
# 1. `window_size=10, min_calls_to_open=5`, limit 50 %. Results so far: ok, fail, ok, fail. The fifth call **succeeds**. Open or closed?
#    And if the fifth call fails?
# 2. Ten calls: four failed fast, four succeeded slowly, two were fine. Error limit 50 %, slow limit 80 %. Open or closed?
# 3. A call is admitted while the breaker is CLOSED and hangs. Meanwhile the breaker opens, waits, and lets its probes through. *Now* the
#    old call fails. Should its failure open the breaker again?
#
# <details><summary>Compare</summary>
#
# 1. Closed: 2/5 = 40 %. If it fails: 3/5 = 60 % ≥ 50 %, open. Five results is enough for a rate, four was not.
# 2. Closed. 40 % failed, 40 % slow. Adding them up to 80 % answers no question that anybody asked.
# 3. No. It tells how the backend was long ago. A result counts only in the period that admitted its call. Several published libraries
#    get this wrong; you will see which at the end.
#
# </details>

# %% [markdown] id="play-intro"
# ## Play
#
# A simulated backend, the reference breaker in front of it, and ten seconds of simulated time for each second of yours. Press
# **Break it**. Then try to make the breaker open with *latency alone*, at 0 % errors. Then try to make it flap: open, close, open again,
# with the dials at rest. (p99: 99 of 100 answered calls were at least that fast.)
#
# No kernel? The picture shows one run: healthy, broken, recovering.
#
# ![A run of 120 simulated seconds: the backend is healthy, then fails; the breaker opens, rejects calls, lets probes through, and closes after the backend recovers.](figure:shared.widgets.circuit_breaker.breaker_storyboard)

# %% id="play"
from shared.widgets.circuit_breaker import breaker_playground

breaker_playground()

# %% [markdown] id="build"
# ## Build
#
# You are given, from the setup cell:
#
# - `BreakerConfig(error_rate=0.5, slow_call_rate=0.8, slow_call_threshold=2.0, window_size=100, min_calls_to_open=10,
#   wait_duration=30.0, permitted_calls_in_half_open=3, ignored=())`: times in seconds, rates as fractions;
# - `State.CLOSED`, `State.OPEN`, `State.HALF_OPEN`;
# - `CircuitOpen(retry_after)`: raise it to reject a call.
#
# Write `CircuitBreaker(config, clock=time.monotonic)`. These are all the rules; the checks test nothing else.
#
# **Counting (CLOSED)**
# - Each rate is count / calls in the window, over the last `window_size` counted results. At or over its limit (`>=`) it opens.
#   It is judged after *every* counted result, successes too.
# - There is no rate before `min(min_calls_to_open, window_size)` results.
# - *Slow* means strictly longer than `slow_call_threshold` (`>`).
# - An exception that is an instance of one of `config.ignored` counts nowhere. Neither does a `BaseException` that is no `Exception`
#   (Ctrl-C, cancellation).
#
# **Rejecting (OPEN)**
# - Raise `CircuitOpen` without calling. Its `retry_after` is the time left, in seconds.
# - The wait starts when the breaker opens. Rejected calls and late results do not extend it.
# - After the wait, the next call is a probe. Until that call comes, `state` may read `OPEN` or `HALF_OPEN`, as you like.
#
# **Probing (HALF_OPEN)**
# - Admit `permitted_calls_in_half_open` calls in total, not at a time; reject the rest (any `retry_after`).
# - All succeed, in time: CLOSED, with an empty window. One fails or is slow: OPEN, for a whole new wait. The next HALF_OPEN has
#   all its permits again.
# - An ignored exception or a `BaseException` gives its permit back.
#
# **Always**
# - A result counts only in the very period that admitted its call: *this* CLOSED, *this* HALF_OPEN. Later it neither votes nor returns a
#   permit.
# - The caller gets the function's own result or its own exception.
# - Calls run in parallel, from many threads: hold nothing while `fn` runs.

# %% solution="circuit-breaker"
class CircuitBreaker:
    """Stops calling a backend that fails or crawls, and probes it after a wait.

    Invariant: a result counts only in the period (this CLOSED, this HALF_OPEN) that admitted its call.
    """

    def __init__(self, config: BreakerConfig, clock=time.monotonic):
        ### BEGIN SOLUTION
        self._config, self._clock = config, clock
        self._lock = threading.Lock()
        self._period = 0
        self._opened_at = 0.0
        self._enter(State.CLOSED)
        ### END SOLUTION

    @property
    def state(self) -> State:
        """The state now. Reading it changes nothing."""
        ### BEGIN SOLUTION
        return self._state
        ### END SOLUTION

    def call(self, fn, *args, **kwargs):
        """Return `fn(*args, **kwargs)`, or raise what it raises; raise CircuitOpen without calling it when rejecting."""
        ### BEGIN SOLUTION
        with self._lock:
            period = self._admit()
        started = self._clock()
        try:
            value = fn(*args, **kwargs)
        except BaseException as error:
            counts = isinstance(error, Exception) and not isinstance(error, self._config.ignored)
            self._record(period, started, failed=True, counts=counts)
            raise
        self._record(period, started, failed=False)
        return value

    def _enter(self, state):
        self._state = state
        self._period += 1
        self._window = deque(maxlen=self._config.window_size)
        self._permits = self._config.permitted_calls_in_half_open
        self._successes = 0

    def _admit(self):
        if self._state is State.OPEN:
            left = self._opened_at + self._config.wait_duration - self._clock()
            if left > 0:
                raise CircuitOpen(left)
            self._enter(State.HALF_OPEN)
        if self._state is State.HALF_OPEN:
            if self._permits == 0:
                raise CircuitOpen(self._config.wait_duration)
            self._permits -= 1
        return self._period

    def _record(self, period, started, failed, counts=True):
        now = self._clock()
        slow = now - started > self._config.slow_call_threshold
        with self._lock:
            if period != self._period:
                return
            if not counts:
                self._permits += 1
            elif self._state is State.HALF_OPEN:
                self._judge_probe(failed or slow, now)
            else:
                self._window.append((failed, slow))
                if self._over_a_limit():
                    self._open(now)

    def _judge_probe(self, bad, now):
        self._successes += 1
        if bad:
            self._open(now)
        elif self._successes == self._config.permitted_calls_in_half_open:
            self._enter(State.CLOSED)

    def _over_a_limit(self):
        calls = len(self._window)
        if calls < min(self._config.min_calls_to_open, self._config.window_size):
            return False
        failed = sum(failed for failed, _ in self._window)
        slow = sum(slow for _, slow in self._window)
        return failed / calls >= self._config.error_rate or slow / calls >= self._config.slow_call_rate

    def _open(self, now):
        self._enter(State.OPEN)
        self._opened_at = now
        ### END SOLUTION

# %% [markdown] id="see-intro"
# ## See
#
# Your breaker and the reference, on the same 120 seconds: success → failure → recovery, then slow → recovery. The strips should agree;
# where they don't, the first difference is marked. It is one story with one configuration; the checks below tell many.

# %% id="see"
from shared.widgets.circuit_breaker import compare_with_reference

compare_with_reference(CircuitBreaker)

# %% [markdown] id="check-intro"
# ## Check
#
# One property each. A check that fails shows you the smallest case that breaks it. Time is simulated: a wait of 30 s takes no time.

# %% test="opens-on-error-rate" points=2
check.opens_on_error_rate(CircuitBreaker)

# %% test="opens-on-slow-calls" points=2
check.opens_on_slow_calls(CircuitBreaker)

# %% test="window-forgets" points=1
check.window_forgets(CircuitBreaker)

# %% test="window-counts-every-call" points=1
check.window_counts_every_call(CircuitBreaker)

# %% test="open-rejects-for-the-wait" points=2
check.open_rejects_for_the_wait(CircuitBreaker)

# %% test="half-open-admits-permitted-calls" points=3
check.half_open_admits_permitted_calls(CircuitBreaker)

# %% test="half-open-decides" points=2
check.half_open_decides(CircuitBreaker)

# %% test="ignored-errors-give-permits-back" points=2
check.ignored_errors_give_permits_back(CircuitBreaker)

# %% test="late-results-do-not-vote" points=2
check.late_results_do_not_vote(CircuitBreaker)

# %% test="original-exception-reaches-the-caller" points=1
check.original_exception_reaches_the_caller(CircuitBreaker)

# %% test="calls-run-in-parallel" points=1
check.calls_run_in_parallel(CircuitBreaker)

# %% test="state-tells-the-story" points=1
check.state_tells_the_story(CircuitBreaker)

# %% [markdown] id="hints"
# ## Hints
#
# <details><summary>Hint 1: the window (a nudge)</summary>
#
# `collections.deque(maxlen=n)` forgets by itself. Put one pair `(failed, slow)` in it for each counted call. Judge right after you append,
# whatever you appended, from `min(min_calls_to_open, window_size)` results on: don't wait until the window is full.
#
# </details>
# <details><summary>Hint 2: the period (the shape)</summary>
#
# Give every stay in a state a number, one higher each time the state changes. `call` remembers the number under which it was
# admitted; when the result comes, compare. Unequal: drop it. This one comparison settles late results, old probes and lost permits.
#
# ```
# with lock: period = admit()        # may raise CircuitOpen
# started = clock()
# run fn                             # no lock here
# with lock: if period == self.period: record
# ```
#
# </details>
# <details><summary>Hint 3: half-open (nearly code)</summary>
#
# On entering HALF_OPEN: `permits = permitted_calls_in_half_open`, `successes = 0`. Admit: no permit left → reject; else take one. A good
# result: `successes += 1`, and if that makes all of them → CLOSED. A bad one → OPEN, now. Ignored, or a `BaseException` →
# `permits += 1`. A finished probe does **not** give its permit back: the number is a total.
#
# </details>
#
# ### "I get…"
#
# | You see | Look at |
# |---|---|
# | opens one call too early, or too late | `>=` against the limit; `min(min_calls_to_open, window_size)`; is the new result already in the window? |
# | more probes than permitted, and the card says "1 switch between threads" | you test and take the permit in two steps: put both under one lock |
# | stuck in half-open for ever | an ignored error or a Ctrl-C kept its permit |
# | closes after too few good probes | permits and `successes` start anew each time it *enters* HALF_OPEN |
# | calls wait for each other | the lock is still held while `fn` runs |
# | the wait never ends | a rejected call or a late failure sets the instant of opening anew |

# %% [markdown] id="break-it-intro"
# ## Break it
#
# Two replicas behind one name; one of them is dead. Half of the calls fail, fast, all night. Run it, and look at the number of changes of state.

# %% golden=true id="break-it"
def half_dead(minutes=10, wait=30.0):
    from shared.simulation.traffic import Backend
    from shared.widgets.circuit_breaker import replay

    config = BreakerConfig(window_size=20, wait_duration=wait)
    run = replay(config, Backend(error_rate=0.5, latency=0.05, seed=7), seconds=60 * minutes, calls_per_second=10)
    print(f"{run.changes} changes of state in {minutes} min; {run.served} served, {run.failed} failed, {run.rejected} rejected")


half_dead()

# %% [markdown] answer="explain-flapping" points=2
# **Your answer, in at most eight sentences** (a person reads it, no check does): why does this breaker change its state all night? How many
# of the rejected calls would have succeeded? Name two settings, or another pattern, that would serve more of them, and what each costs.
#
# <!-- ### BEGIN SOLUTION -->
# - Half of the calls fail by chance, so the rate of the window is soon at its limit of 50 %. After the wait all three probes must succeed, and
#   that happens once in 2³ = 8 times; the other seven times it is OPEN for 30 s more.
# - About half of the rejected calls, some 2900, would have reached the healthy replica.
# - A higher `error_rate` (0.7) serves half of the calls all the time; callers see the other half fail, and a backend that is 60 % dead is never
#   left in peace.
# - A shorter `wait_duration` or fewer probes: more calls get through, and a backend that is really down is asked more often.
# - A breaker, or the balancer's outlier detection, per *replica* serves nearly all; it costs a state for each host, and the survivor has twice
#   the load.
# - A retry around the breaker helps little here: while it is OPEN all tries are rejected.
# <!-- ### END SOLUTION -->

# %% [markdown] id="production"
# ## In production
#
# The same thing under other names:
#
# | here | resilience4j (Java) | Polly (C#) | gobreaker (Go) | Envoy |
# |---|---|---|---|---|
# | `error_rate` | `failureRateThreshold` | `FailureRatio` | your `ReadyToTrip` | outlier detection `failure_percentage_threshold` |
# | `slow_call_rate`, `_threshold` | `slowCallRateThreshold`, `slowCallDurationThreshold` | — (put a timeout inside) | — (the same) | — (a timeout counts as a 5xx) |
# | `window_size` | `slidingWindowSize`, in calls or in seconds | `SamplingDuration` (time) | `Interval` (time; counts start anew) | `interval` (time) |
# | `min_calls_to_open` | `minimumNumberOfCalls` | `MinimumThroughput` | your `ReadyToTrip` | `failure_percentage_request_volume` |
# | `wait_duration` | `waitDurationInOpenState` | `BreakDuration` | `Timeout` | `base_ejection_time`, longer each time |
# | `permitted_calls_in_half_open` | `permittedNumberOfCallsInHalfOpenState` | one | `MaxRequests` | — (the host is back for all calls) |
#
# - resilience4j takes several probes and then judges their *rate*; here one bad probe is enough, as the chapter asks.
# - Envoy's outlier detection ejects one *host* of a cluster, not the whole backend. Its failure percentage is off by default:
#   `enforcing_failure_percentage` is 0.
# - Envoy's thing called `circuit_breakers` limits connections and pending requests: that is a bulkhead (17.2.3).
# - Order matters: fallback(retry(breaker(timeout(call)))). A retry *inside* the breaker shows it one result for three tries,
#   and goes on trying while the breaker should be open.
#
# ### How do the published Python breakers do?
#
# Each library in its best honest configuration, against the checks of this notebook. ✓ holds, ✗ fails, – no such feature; point at a mark to
# read why. It takes some seconds.

# %% golden=true id="peers"
def published_breakers():
    from IPython.display import HTML

    from graders.comparisons.circuit_breakers import as_html, table

    return HTML(as_html(table()))


published_breakers()

# %% [markdown] id="takeaways"
# ### A runbook line
#
# > **`breaker_state{backend="recommendations"} == open` for 5 min** → is the backend up (`curl -m 2 $BACKEND/health`)? Up and slow: look at *its* p99 and
# > saturation, not at ours. Don't restart the callers: their breakers start CLOSED and send the full load again.
#
# ### Takeaways
#
# - Latency is a failure mode. A breaker that counts only errors watches the incident at the top of this page and does nothing.
# - Two rates, two limits, one window, and a minimum before either means anything.
# - Half-open is where breakers are wrong: permits are a total, and late results belong to the past.
# - A breaker protects the *caller's* threads and the backend's recovery. It serves nobody. What the user gets meanwhile is 17.2.4.
#
# **Next:** [17.2.2 — Retry with backoff and jitter](17.2.2-retry.ipynb): how to ask again without all asking at once.
