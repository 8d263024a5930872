# %% [markdown] id="title"
# # 17.2.2 — Retry with backoff and jitter
#
# | | |
# |---|---|
# | **Time** | 45–60 minutes |
# | **Difficulty** | ●●○○○ |
# | **You need** | exceptions, `random.Random`, [17.2.1](17.2.1-circuit-breaker.ipynb) helps |
# | **You write** | one function, `retry`, about 12 lines |
# | **You can say afterwards** | why a polite retry is random, when not to retry at all, and which three bugs the usual listing has |

# %% readonly="setup"
from graders.kit import checks_for
from shared.resilience.contracts import BackoffConfig, HttpError, is_retryable

check = checks_for("17.2.2")

# %% [markdown] id="incident"
# ## The incident
#
# **03:12.** The session server is restarted. It takes 3 s; nobody would have noticed.
#
# But 100 clients lose their connection at the same instant. Each does what its author found reasonable: *wait one second, try again*.
# So they come back at the same instant as well, all 100. A cold server survives 25 connects in 100 ms, not 100. It falls over, starts again, and
# one second later meets the same 100 clients. They are very punctual.
#
# At 03:40 somebody blocks the port at the firewall, lets ten clients in at a time, and the incident is over.
#
# ![Two columns over 20 seconds. Left, 100 clients ask again every second: all 100 arrive at one instant, the server falls over each time, nobody is ever connected. Right, exponential backoff with full jitter: a few arrive at a time and all are connected after about 10 seconds.](figure:shared.widgets.retry.incident_figure)
#
# The server was fine. Its clients were a **thundering herd**, and their retries kept it down.

# %% [markdown] id="idea"
# ## The idea
#
# A retry is a second load on something that is already in trouble. So it answers three questions before it asks again.
#
# **Is it worth it?** A refused connection, a timeout, a 503 or a 429 may pass. A 404 or a `ValueError` will be the same next time: it is
# *permanent*, and goes to the caller at once.
#
# **How long do I wait?** Before retry $n = 0, 1, 2, \dots$ somewhere between 0 and a bound that grows:
#
# $$b_n = \min\left(\text{max\_delay},\ \text{initial\_delay} \cdot \text{multiplier}^{\,n}\right)$$
#
# Where exactly is left to chance. That is the *jitter*, and it is what breaks up the herd:
#
# | jitter | wait before retry $n$ | |
# |---|---|---|
# | none | $b_n$ | all clients together, for ever |
# | equal | between $b_n/2$ and $b_n$ | never at once; half the spread |
# | full | between $0$ and $b_n$ | the widest spread |
# | decorrelated | between $\text{initial\_delay}$ and 3 × the last wait, at most $\text{max\_delay}$ | no $n$ needed; exceeds $b_0$, so it is only shown here |
#
# If the server says how long (`Retry-After`), that is a *floor* under the wait.
#
# **Is there time left?** A sleep that ends after the caller's deadline serves nobody. Don't begin it: fail now.

# %% [markdown] id="worked-case-intro"
# ### The smallest worked case
#
# Three calls fail, the fourth succeeds. `initial_delay` is 1 s, `max_delay` 3 s. Watch the bound grow and stop, and the second wait: the
# server asked for 5 s there.

# %% golden=true id="worked-case"
def worked_case():
    import random

    from shared.resilience.retry import retry as reference

    outcomes = iter([ConnectionRefusedError(), HttpError(503, retry_after=5.0), TimeoutError(), None])

    def fn():
        if error := next(outcomes):
            raise error
        return "served"

    def report(event):
        bound = min(3.0, 1.0 * 2.0 ** (event.attempt - 1))
        print(f"call {event.attempt}: {event.error!r:<26} bound {bound:.0f} s → waits {event.wait:.2f} s")

    config = BackoffConfig(initial_delay=1.0, max_delay=3.0)
    print("call 4:", reference(fn, config, sleep=lambda s: None, rng=random.Random(3), on_event=report))


worked_case()

# %% [markdown] id="predict"
# ## Predict
#
# Before you run anything, write down your answers.
#
# 1. `max_attempts=4`, every call fails. How many calls are made? How many sleeps?
# 2. 100 clients fail at one instant. Their waits are 0.9 to 1.0 times the bound: "ten per cent of jitter". `initial_delay` is 1 s. How many
#    come back within the fullest 50 ms?
# 3. The deadline is in 3 s, the error says `retry_after = 5`. What should `retry` do, and *when*?
#
# <details><summary>Compare</summary>
#
# 1. Four calls, three sleeps. After the last call there is nothing to wait for. (`max_attempts` counts the first call. In many libraries a
#    setting called "retries" does not.)
# 2. About 50, in fact a few more: all 100 come between 0.9 and 1.0 s, which is only two times 50 ms. With full jitter it is about 5 on average.
# 3. Raise the error, now. Waiting 3 s to fail then holds a thread and a user for nothing.
#
# </details>

# %% [markdown] id="play-intro"
# ## Play
#
# A hundred clients and one server, live. It survives 25 connects in 100 ms. Press **Pull the plug**, count to eight, press **Plug it in**.
# First without jitter. Then choose *full*, and again. (A new jitter counts from the next lost connection.) Can you find a moment to plug it in
# that a herd *without* jitter survives?
#
# No kernel? The picture shows one outage of 8 s, four times.
#
# ![Retries per 100 ms of 100 clients over 20 seconds, one strip per jitter. Without jitter three columns of 100. With equal, full and decorrelated jitter a low carpet of retries, never more than 16 within 100 ms.](figure:shared.widgets.retry.herd_figure)

# %% id="play"
from shared.widgets.retry import herd_playground

herd_playground()

# %% [markdown] id="herd-intro"
# ### The herd in numbers
#
# The same outage as a table: 100 clients fail together, the server is away for 8 s, `initial_delay` is 2 s. The peak is what the server must
# survive. Jitter costs little time, sometimes none: without it everybody waits for the 14th second.

# %% golden=true id="herd"
from shared.widgets.retry import herd_table

herd_table()

# %% [markdown] id="listing-intro"
# ### The good listing that isn't
#
# This is the "good" version of many courses and many code bases, here ported from Go. It backs off, it has jitter, it does not retry
# permanent errors. It is wrong three times. Read it first: where? Then run it: one client, 4 attempts, `initial_delay` 1 s, `max_delay` 3 s,
# every call fails.

# %% golden=true id="listing"
def backoff_with_jitter(fn, config, *, sleep, rng, clock, deadline=None):
    delay = config.initial_delay
    for attempt in range(config.max_attempts):
        try:
            return fn()
        except Exception as error:
            if not is_retryable(error):
                raise
        jitter = rng.uniform(0, delay)
        sleep(delay + jitter)
        delay = min(delay * 2, config.max_delay)
    raise RuntimeError("attempts exhausted")


def show(listing):
    from shared.widgets.retry import counterexample

    return counterexample(listing)


show(backoff_with_jitter)

# %% [markdown] id="listing-explained"
# - **It exceeds `max_delay`.** The cap is on `delay`, and the jitter comes on top: up to twice the maximum.
# - **It sleeps after the last attempt**, the longest sleep of all, and then gives up without asking.
# - **It loses the error.** "attempts exhausted" is what the pager says at 3 AM. Which attempts? Of what? The caller that catches
#   `ConnectionError` no longer catches it.
#
# (Two more, when you have the rules: `multiplier` and `retry_after` are not there at all.)

# %% [markdown] id="build"
# ## Build
#
# You are given, from the setup cell:
#
# - `BackoffConfig(initial_delay=0.1, max_delay=10.0, max_attempts=5, multiplier=2.0)`: delays in seconds;
# - `is_retryable(error)`: True for lost or refused connections, timeouts, HTTP 5xx and 429;
# - `HttpError(status, retry_after=None)`: what an HTTP client raises.
#
# Write `retry(fn, config, *, sleep, rng, clock, deadline=None)`. These are all the rules; the checks test nothing else.
#
# **Calling**
# - Call `fn()`, without arguments, until it returns. Return its value, also when that is `None`, `0` or empty.
# - At most `max_attempts` calls, the first one counted.
# - An error that is not retryable goes to the caller at once: no further call, no sleep. That includes Ctrl-C and cancellation, which are
#   no `Exception`.
# - When no call is left, raise the *last* error itself: that very object, nothing around it, and without sleeping after it.
#
# **Waiting**
# - Before retry $n = 0, 1, 2, \dots$ wait between 0 and $b_n = \min(\text{max\_delay},\ \text{initial\_delay} \cdot \text{multiplier}^{\,n})$. Full
#   jitter and equal jitter are both right. Not each wait must grow, the bound does: of 24 clients, the longest wait before retry $n$ is over a
#   quarter of $b_n$.
# - If the error has a `retry_after` that is not `None`, wait at least so long after *that* error, even if it is more than $b_n$. Any
#   retryable exception may have one, not only `HttpError`. (Whether you cap it at `max_delay` is up to you.)
# - `deadline` is an instant on `clock`, or None. A sleep that would end at or after it is not begun: raise the last error there and then. Where
#   there is time for the wait, go on. (A deadline that is past before the first call is up to you.)
#
# **With what**
# - Wait with `sleep(seconds)` only. Draw from `rng`, a `random.Random`: the same seed makes the same waits. Read time from `clock()`.
#
# **The herd**
# - Of 100 clients that fail together, each with an `rng` of its own, at most 25 start a retry within any `initial_delay / 20` seconds. Also when
#   they fail together late, at `max_delay`. (A peak is chance: the calmest of three storms counts.)

# %% solution="retry"
def retry(fn, config, *, sleep, rng, clock, deadline=None):
    """Return `fn()`, calling it again after retryable errors; raise its last error when it may not be called again.

    Invariant: a sleep is begun only if a call follows it, before the deadline.
    """
    ### BEGIN SOLUTION
    for attempt in range(config.max_attempts):
        try:
            return fn()
        except Exception as error:
            if not is_retryable(error) or attempt + 1 == config.max_attempts:
                raise
            bound = min(config.max_delay, config.initial_delay * config.multiplier**attempt)
            wait = max(rng.uniform(0, bound), getattr(error, "retry_after", None) or 0.0)
            if deadline is not None and clock() + wait >= deadline:
                raise
        sleep(wait)
    ### END SOLUTION

# %% [markdown] id="see-intro"
# ## See
#
# A hundred clients with your retry, a hundred with the reference (full jitter). Every call fails. Left, each wait is a dot under its bound;
# right, when they come back. Equal jitter looks different and is right too: its dots keep to the upper half. (Deadlines, `retry_after` and
# successes do not occur here; the checks below have them.)

# %% id="see"
from shared.widgets.retry import compare_with_reference

compare_with_reference(retry)

# %% [markdown] id="check-intro"
# ## Check
#
# One property each. A check that fails shows you the smallest case that breaks it. Time is simulated: waiting costs nothing.

# %% test="permanent-errors-are-raised-at-once" points=1
check.permanent_errors_are_raised_at_once(retry)

# %% test="tries-up-to-max-attempts" points=1
check.tries_up_to_max_attempts(retry)

# %% test="last-error-is-raised-as-it-was" points=1
check.last_error_is_raised_as_it_was(retry)

# %% test="no-sleep-after-the-last-attempt" points=1
check.no_sleep_after_the_last_attempt(retry)

# %% test="delays-stay-within-bounds" points=2
check.delays_stay_within_bounds(retry)

# %% test="retry-after-is-the-floor" points=2
check.retry_after_is_the_floor(retry)

# %% test="never-sleeps-past-the-deadline" points=2
check.never_sleeps_past_the_deadline(retry)

# %% test="uses-what-it-is-given" points=1
check.uses_what_it_is_given(retry)

# %% test="spreads-the-herd" points=3
check.spreads_the_herd(retry)

# %% [markdown] id="hints"
# ## Hints
#
# <details><summary>Hint 1: the loop (a nudge)</summary>
#
# Decide *inside* the `except` block, where a bare `raise` hands on the very error that you caught, traceback and all. There are three reasons to
# raise: permanent, last attempt, no time. If none holds, sleep, after the block.
#
# </details>
# <details><summary>Hint 2: the wait (the shape)</summary>
#
# ```
# bound = …            # capped, before you draw
# wait  = draw from [0, bound], or from its upper half
# wait  = at least what this error asks for
# if deadline and now + wait is not before it: raise
# ```
#
# The order matters. Draw from the *capped* bound; apply the floor *after* the draw; ask for the deadline *last*, with the wait that you will
# really sleep. Not every exception has `retry_after`: `getattr` takes a default. And an attribute can be there and be `None`.
#
# </details>
# <details><summary>Hint 3: the herd (nearly code)</summary>
#
# `rng.uniform(0, bound)`. Not `bound * rng.uniform(0.9, 1)`, not `min(max_delay, rng.uniform(0, uncapped))`: once the uncapped range is far
# over the maximum, nearly every draw is cut to the same number, and the herd is back. And don't make a generator of your own: `random.Random(0)` in
# each client is the same dice in each client.
#
# </details>
#
# ### "I get…"
#
# | You see | Look at |
# |---|---|
# | called one time too many, or never | `max_attempts` counts the first call; what is `range(config.max_attempts)` for 1? |
# | "it raised an error of its own, RuntimeError" | you make a new error; use a bare `raise` in the `except` block |
# | "… of its own, UnboundLocalError" | Python forgets the name of `except … as name` where the block ends: raise inside it |
# | "it slept on and ended … s later" | the question "was this the last?" comes after the sleep |
# | a wait over its bound | is the jitter added on top of the bound? does $n$ start at 0? is the *first* wait capped too? |
# | `AttributeError: … has no attribute 'retry_after'` | only some exceptions have it |
# | `TypeError: '>' not supported between … 'NoneType'` | an exception can have a `retry_after` that is `None` |
# | a sleep that ends at the deadline | don't shorten the sleep to fit: don't begin it |
# | 100 of 100 within 5 ms | no randomness, or the same in each client |

# %% [markdown] id="break-it-intro"
# ## Break it
#
# One click, three layers: the page calls the shop, the shop calls the stock, the stock calls the database. Every layer uses *your* kind of retry
# with `max_attempts=5`. The database is down. Run it, and look at what one click costs.

# %% golden=true id="break-it"
def one_click(layers, attempts=5):
    from functools import partial

    from shared.resilience.retry import retry as reference

    calls = 0

    def call():
        nonlocal calls
        calls += 1
        raise ConnectionRefusedError

    config = BackoffConfig(max_attempts=attempts)
    for _ in range(layers):
        call = partial(reference, call, config, sleep=lambda s: None)
    try:
        call()
    except ConnectionRefusedError:
        print(f"{attempts} attempts in each layer, layers: {layers}, calls of the database: {calls}")


for layers in (1, 2, 3):
    one_click(layers)

# %% [markdown] answer="explain-amplification" points=2
# **Your answer, in at most eight sentences** (a person reads it, no check does): where does the number come from, and what does it do to a
# database that is coming back up? Backoff and jitter are in place: why are they not enough? Name two ways out, and what each costs.
#
# <!-- ### BEGIN SOLUTION -->
# - Each layer takes the failure of the five calls below it for *one* failure, and asks again: 5 · 5 · 5 = 125 calls for one click.
# - A database that comes back meets up to 125 times its load. It fails again, and that makes more retries.
# - Backoff and jitter spread the calls over time. They do not make them fewer, and each click adds its own.
# - Retry at one layer only: 5 calls. The price: a failure between two upper layers is not retried.
# - A retry budget (at most 20 % of the calls may be retries): the load grows by a fifth at most. The price: during an outage most calls fail at
#   once, also some that a retry would have saved.
# - A breaker around the database, or an error that says "already retried": the layers above stop asking. The price: a state, or a convention that
#   all layers must keep.
# <!-- ### END SOLUTION -->

# %% [markdown] id="production"
# ## In production
#
# The same thing under other names:
#
# | here | tenacity / stamina (Python) | resilience4j (Java) | Polly (C#) | Envoy | Go |
# |---|---|---|---|---|---|
# | `max_attempts` (with the first) | `stop_after_attempt` / `attempts` | `maxAttempts` | `MaxRetryAttempts`, *without* the first | `num_retries`, *without* the first | your loop |
# | full jitter | `wait_random_exponential` / jitter on top, up to `wait_jitter` | `ofExponentialRandomBackoff` (± a share) | `UseJitter` (decorrelated, with exponential backoff) | always full | your `rand` |
# | `deadline` | `stop_before_delay` / `timeout` (may end after it) | — (a time limiter outside) | a timeout outside | the route's `timeout` | `ctx.Done()` |
# | `retry_after` | `wait_exception` / a backoff hook as `on` | `intervalBiFunction` | `DelayGenerator` | `rate_limited_retry_back_off` | your `select` |
# | the last error | `reraise=True`, or you get `RetryError` / as it was | as it was | as it was | the last response | what you return |
#
# - tenacity's `wait_exponential_jitter` and stamina cap *after* the jitter: at their maximum all clients wait the same.
#   `wait_random_exponential` doesn't.
# - asyncio: the same loop with `await`. Never retry `asyncio.CancelledError`; since 3.8 it is no `Exception`, so `except Exception` is enough.
# - `multiplier ** n` overflows a float after about a thousand retries. The reference multiplies step by step and caps each time.
# - **A retry budget** (`RetryBudget` in the reference): of the calls that are active now, at most 20 %, and 3 more, may be retrying.
#   Envoy takes the larger of the two, Finagle counts over the last ten seconds. When one call in a hundred fails, everybody is retried; when all fail, hardly anybody is.
# - **Idempotence.** A timeout does not say that nothing happened. Retry a payment only under a key that makes the second one harmless.
# - Order matters: fallback(retry(breaker(timeout(call)))). `CircuitOpen` has a `retry_after` and is not in `is_retryable`: both choices have a price.

# %% [markdown] id="takeaways"
# ### A runbook line
#
# > **`rate(requests_total)` over 2× normal while `requests_failed_total` is high, in a saw-tooth** → retries. Don't restart the server again: each
# > restart calls the herd together anew. Let clients in slowly (limit connects at the balancer), lower `max_attempts` at *one* layer, then look for
# > the client without jitter: its requests arrive in columns.
#
# ### Takeaways
#
# - Retry what may pass, at one layer, a few times, before the deadline. Everything else: fail now, with the error as it was.
# - Exponential backoff makes a herd rarer, not smaller. Jitter makes it smaller.
# - Draw from the capped range. Capping the draw puts the herd together again.
# - Three bugs of the usual listing: jitter over the maximum, a sleep after the last attempt, a lost error.
#
# **Next:** [17.2.3 — Bulkheads](17.2.3-bulkhead.ipynb): when one tenant's trouble must stay its own.
