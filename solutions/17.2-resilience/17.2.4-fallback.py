# %% [markdown] id="title"
# # 17.2.4 — Fallback: get worse instead of failing
#
# | | |
# |---|---|
# | **Time** | 40–50 minutes |
# | **Difficulty** | ●●○○○ |
# | **You need** | exceptions and how they chain, dictionaries; [17.2.1](17.2.1-circuit-breaker.ipynb) helps |
# | **You write** | one class, `RecommendationService`, about 20 lines |
# | **You can say afterwards** | which failures a fallback may answer, which it must not, and how you would notice that it does |

# %% readonly="setup"
import time

from graders.kit import checks_for
from shared.resilience.contracts import Answer

check = checks_for("17.2.4")

# %% [markdown] id="incident"
# ## The incident
#
# **03:02.** The recommender dies. Nobody is paged, and rightly so: the shop has a fallback. Pages show the recommendations of a few minutes
# ago, then the list of bestsellers. Success rate: 100 %. The fallback does what it was built for.
#
# **09:40.** Somebody from marketing asks why everybody in the country is being offered the same three books.
#
# ![Above, pages answered over 12 minutes: a flat line at 100 %. Below, who answered: first nine in ten live; when the recommender dies at 120 s four in five come from the cache; within five minutes the static list takes over everything.](figure:shared.widgets.fallback.incident_figure)
#
# The recommender was down for six and a half hours. Restarting it took one minute. A system that runs on its last fallback *without anybody
# knowing* looks like a system that is well. The lower picture could
# have been drawn all night. It just wasn't on any dashboard.

# %% [markdown] id="idea"
# ## The idea
#
# Three levels, each worse and each harder to break than the one before. Ask the best first; go down one when it **fails**:
#
# ```mermaid
# flowchart LR
#     Q[recommend] --> L[live<br/>ask the client]
#     L -- OSError --> C[cache<br/>the user's last live answer,<br/>under 300 s old]
#     C -- none, or too old --> S[static<br/>the popular list]
#     L -- "TypeError, Ctrl-C, …" --> X[the caller]
# ```
#
# **Every answer says its level**, to its caller and to a metric. A good day's dashboard reads 90 % live, 8 % cache, 2 % static. These are not
# magic numbers. Say a fraction $p$ of calls fails, and each user asks $r$ times a second at random. A failed call finds no fresh entry if
# no live answer fell into the last $T = 300$ s:
#
# $$\text{static} = p \, e^{-(1-p)\,r\,T} \qquad \text{cache} = p - \text{static} \qquad \text{live} = 1 - p$$
#
# With $p = 0.1$ and a user who comes every 167 s: $0.1 \cdot e^{-1.62} = 2\,\%$. So the 2 % tell you something about your users. The 8 % are
# what the cache is worth.
#
# **Only failures fall.** A client that is down raises an `OSError`. A `TypeError` is a bug in *your* code, and a cancellation is somebody who no
# longer wants the answer. Neither gets better by showing bestsellers.

# %% [markdown] id="worked-case-intro"
# ### The smallest worked case
#
# One user, one clock. The client answers at 0 s and is dead from then on. Watch the hit at 200 s: it does not make the entry any younger.

# %% golden=true id="worked-case"
def worked_case():
    from collections import Counter

    from shared.resilience.fallback import RecommendationService as Reference

    now, counts = 0.0, Counter()

    class Client:
        def get(self, user):
            if now > 0:
                raise ConnectionRefusedError("recommender is dead")
            return ["Dune", "Emma"]

    class Metrics:
        def inc(self, level):
            counts[level] += 1

    service = Reference(Client(), {}, ["Bestseller"], Metrics(), clock=lambda: now)
    for now in (0.0, 200.0, 299.0, 301.0):
        answer = service.recommend("eva")
        print(f"{now:>4.0f} s  {answer.level:<7} {answer.items}")
    print(dict(counts), "→", sum(counts.values()), "answers")


worked_case()

# %% [markdown] id="predict"
# ## Predict
#
# Before you run anything, write down your answers.
#
# 1. The client answers with an *empty list*. Which level is that? The client dies; the user asks again. Which level, which items?
# 2. The client dies for good. When is the last answer from the cache served, and what does the dashboard's success rate read?
# 3. A deployment renames a field, and `client.get` now raises `KeyError` for everybody. What do users see if the service says
#    `except Exception`? Who finds out, and when?
#
# <details><summary>Compare</summary>
#
# 1. Live. "We have nothing for you" is an answer. Then: cache, the empty list. Falling to the bestsellers there would be a made-up answer.
# 2. Just under 300 s after the last live answer. 100 %, at all times.
# 3. Cached lists for five minutes, then bestsellers, for as long as it takes. An outage would at least end by itself; this one doesn't.
#
# </details>

# %% [markdown] id="play-intro"
# ## Play
#
# 2000 users, twelve questions a second, the reference service, and twenty seconds for each of yours. Press **Kill the client** and watch the bar:
# 90/8/2 goes to 0/80/20, and then the cache runs dry. Do you see *when* it is empty? Then revive it, and try to get 80/18/2 with the two sliders.
# (The formula above tells you how.)
#
# No kernel? The picture shows an outage of eight minutes.
#
# ![Shares per level over 14 minutes. The client dies at two minutes; the cache gives four in five answers at first and none after five minutes; the static list takes its place; at ten minutes the client is back and nine in ten are live at once.](figure:shared.widgets.fallback.outage_figure)

# %% id="play"
from shared.widgets.fallback import fallback_playground

fallback_playground()

# %% [markdown] id="listing-intro"
# ### The usual listing
#
# Many courses show it like this: if there is no error, live; else the cache; else the list. It is short, it is never down, and it has the
# 03:02 built in. Below it meets a typo, a
# cancelled request, and a user for whom there is nothing.

# %% golden=true id="listing"
def usual_listing():
    def recommend(client, cache, popular, user):
        try:
            cache[user] = client(user)
            return cache[user]
        except Exception:  # whatever it was
            return cache.get(user) or popular

    import asyncio

    cache = {}
    for name, error in {"a typo": KeyError("itmes"), "a cancelled request": asyncio.CancelledError()}.items():

        def client(user):
            raise error

        try:
            print(f"{name:<21}→", [recommend(client, cache, ["Bestseller"], "eva") for _ in range(3)])
        except BaseException as escaped:
            print(f"{name:<21}→ {type(escaped).__name__} reaches the caller")
    empty = recommend(lambda user: [], cache, ["Bestseller"], "luis")
    later = recommend(client_is_dead, cache, ["Bestseller"], "luis")
    print("an empty answer      →", empty, "and, once the client is dead,", later)


def client_is_dead(user):
    raise ConnectionRefusedError


usual_listing()

# %% [markdown] id="listing-explained"
# - **The typo is invisible.** No exception, no level, no metric: three customers, three bestsellers, a green dashboard.
# - Cancellation gets away, but only just: asyncio's `CancelledError` is no `Exception`. The one of `concurrent.futures` *is*; it would be swallowed.
# - **`or` mistakes an empty answer for none**: the last line offers luis what the recommender never said.
# - Nothing ever gets old. (Many caches drop an entry after five minutes by themselves. A plain `dict` does not.)

# %% [markdown] id="build"
# ## Build
#
# You are given, from the setup cell, `Answer(items, level)`, and in the constructor:
#
# - `client.get(user)` returns a list. When the client is down it raises an `OSError`: `ConnectionError` and its kin, or `TimeoutError`;
# - `cache`, a plain `dict`. Keep your entries there, in any format you like; nobody else reads them;
# - `popular`, a list; `metrics.inc(level)` counts one answer; `clock()` is the time in seconds, and agrees with `time.monotonic`.
#
# Write `RecommendationService(client, cache, popular, metrics, clock=time.monotonic)` with `recommend(user) -> Answer`. These are all the rules;
# the checks test nothing else.
#
# **Levels**
# - Ask the client each time, also when there is a fresh entry. Its list is the answer, level `"live"`. An **empty list is an answer**, too.
# - The client fails: this user's last live answer, if it is fresh. Level `"cache"`. Empty ones count like any other.
# - None, or too old: `popular`. Level `"static"`.
#
# **The cache**
# - Each live answer is cached for its user, in place of the one before.
# - Fresh means under 300 s since the *live answer*. A hit does not renew it. (The checks' client answers at once, and they keep a second away from 300:
#   whether a slow client's answer ages from the question or from its arrival is up to you.)
# - The popular list is never cached.
#
# **What is no outage**
# - Programming errors of the client call (`TypeError`, `KeyError`, `AttributeError`, …) reach the caller: as they are, or as the cause of what
#   you raise.
# - So do cancellation and the end: `asyncio.CancelledError`, `concurrent.futures.CancelledError`, `KeyboardInterrupt`, `SystemExit`.
#   These keep their type.
# - If the client has failed and then *reading the cache* raises: return the static answer, or raise something that has the client's error in its
#   `__cause__`/`__context__` chain. The first thing that broke is what the person on call needs.
#
# **Counting**
# - `metrics.inc(level)` exactly once per returned answer, with its level. None when `recommend` raises.

# %% solution="fallback"
class RecommendationService:
    """Recommendations that are live, or at most five minutes old, or the popular list; and say which.

    Invariant: a level answers only if all better ones failed, and each answer is counted once, under its level.
    """

    def __init__(self, client, cache, popular, metrics, clock=time.monotonic):
        ### BEGIN SOLUTION
        self._client, self._cache, self._popular = client, cache, popular
        self._metrics, self._clock = metrics, clock
        ### END SOLUTION

    def recommend(self, user) -> Answer:
        """The best answer to be had. Raises what is no outage of the client."""
        ### BEGIN SOLUTION
        try:
            answer = Answer(self._client.get(user), "live")
        except OSError:
            answer = self._without_client(user)  # inside the block: errors in there are chained to the client's
        else:
            self._cache[user] = (answer.items, self._clock())
        self._metrics.inc(answer.level)
        return answer

    def _without_client(self, user):
        if user in self._cache:
            items, answered_at = self._cache[user]
            if self._clock() - answered_at < 300.0:
                return Answer(items, "cache")
        return Answer(self._popular, "static")
        ### END SOLUTION

# %% [markdown] id="see-intro"
# ## See
#
# Your service and the reference, the same users, the same outage of seven minutes. One user in ten has an empty list. The areas are drawn from the
# levels of the answers; the first answer that differs is told in words.

# %% id="see"
from shared.widgets.fallback import compare_with_reference

compare_with_reference(RecommendationService)

# %% [markdown] id="check-intro"
# ## Check
#
# One property each. A check that fails shows you the smallest case that breaks it. Time is simulated: five minutes take no time.

# %% test="asks-the-client-first" points=1
check.asks_the_client_first(RecommendationService)

# %% test="falls-back-to-the-cache" points=2
check.falls_back_to_the_cache(RecommendationService)

# %% test="cached-answers-live-five-minutes" points=2
check.cached_answers_live_five_minutes(RecommendationService)

# %% test="serves-the-popular-list-last" points=1
check.serves_the_popular_list_last(RecommendationService)

# %% test="static-list-is-never-cached" points=1
check.static_list_is_never_cached(RecommendationService)

# %% test="empty-answer-is-an-answer" points=1
check.empty_answer_is_an_answer(RecommendationService)

# %% test="programming-errors-are-not-hidden" points=2
check.programming_errors_are_not_hidden(RecommendationService)

# %% test="cancellation-is-not-hidden" points=1
check.cancellation_is_not_hidden(RecommendationService)

# %% test="primary-error-stays-reachable" points=2
check.primary_error_stays_reachable(RecommendationService)

# %% test="levels-add-up" points=2
check.levels_add_up(RecommendationService)

# %% [markdown] id="hints"
# ## Hints
#
# <details><summary>Hint 1: the order (a nudge)</summary>
#
# Find the answer first, whole, with its level. Count it in *one* place, at the end, from `answer.level`. An exception then never reaches the
# count. And write into the cache in *one* place as well: after the client has answered.
#
# </details>
# <details><summary>Hint 2: the entry (the shape)</summary>
#
# An entry is two things: the items, and the instant of the live answer.
#
# ```
# cache[user] = (items, now)       # written by live answers only
# fresh       = now - instant < 300
# ```
#
# "Is there an entry?" is a question about the *key* (or about `None`), never about whether the items are truthy: `[]` is a fine answer.
#
# </details>
# <details><summary>Hint 3: the except block (nearly code)</summary>
#
# ```
# try:
#     items = …                    # the client, and nothing else
# except OSError:
#     …                            # the whole way down, in here
# else:
#     …                            # remember it
# ```
#
# `OSError` covers `ConnectionError` and `TimeoutError` and nothing that is a bug. While you are *inside* the `except` block, Python writes
# the client's error into the `__context__` of whatever else goes wrong. After the block it is forgotten.
#
# </details>
#
# ### "I get…"
#
# | You see | Look at |
# |---|---|
# | "the client was not asked" | you look into the cache first: that is a cache in front of a client, not a fallback behind it |
# | level 'static' where 'cache' with `[]` was expected | `if items:`, or `cache.get(user) or …`: an empty list is falsy |
# | level 'cache' when it is too old | a hit writes the entry again; minutes or milliseconds; one instant for all users |
# | `KeyError` does not reach the caller | one `try` around client *and* cache: whose `KeyError` is it? |
# | `concurrent.futures.CancelledError` is answered | that one is an `Exception`. Catch less |
# | "nowhere in its chain" | the `except` block ends before the cache is read |
# | counted 'live', 'cache' | you count what you try, not what you return |

# %% [markdown] id="break-it-intro"
# ## Break it
#
# The client is dead. Users complain. After a minute somebody does what one does: restart the service. Its cache is a `dict`. Run it, and
# compare the columns: how many users see the same bestsellers, minute by minute.

# %% golden=true id="break-it"
def restart_in_the_outage():
    from shared.widgets.fallback import restart_table

    restart_table(restart_after=60.0)


restart_in_the_outage()

# %% [markdown] answer="explain-restart" points=2
# *In at most eight sentences: why did the restart make it worse, and why does "left alone" still end at 100 %? Name two changes that would serve more
# people their own recommendations during a long outage, and what each costs. What would you page on, and after how long?*
#
# <!-- ### BEGIN SOLUTION -->
# The cache lives in the process: the restart emptied it, and while the client is dead no live answer can fill it again. So everybody gets the popular list at once. "Left alone" only buys
# time: entries are good for 300 s, and in the sixth minute the last one has become too old. First change: while the client is dead, serve entries of some hours, too. It costs memory and old
# recommendations; the answer should say how old it is. Second change: keep the cache outside of the process. It costs a network call and one more thing that can be down, which must not be
# down together with the client. Page when more than 10 % of the answers are static for five minutes; the share of the cache rises at once and is worth a ticket.
# <!-- ### END SOLUTION -->

# %% [markdown] id="production"
# ## In production
#
# The same thing under other names:
#
# | | the chain | only failures fall | cancellation |
# |---|---|---|---|
# | resilience4j (Java) | `withFallback(…)`, one per level | `List.of(IOException.class)` | interrupt flag, easily lost |
# | Polly (C#) | `AddFallback`, one strategy per level | `ShouldHandle` | the default leaves `OperationCanceledException` out |
# | Envoy | an aggregate cluster: the next one when no host is healthy | status codes | — |
# | Go | `if err != nil`, by hand | `errors.Is`, *not* `err != nil` | check `ctx.Err()` first |
# | Python | `try`/`except`, by hand; tenacity's `retry_error_callback` after the last try | `except OSError` | two `CancelledError`s, one of them an `Exception` |
#
# - **The old answer** comes out of a cache of your own (in Python, `cachetools.TTLCache`). HTTP has a word for it: `stale-if-error=300` (RFC 5861).
# - **The level's metric** is a counter of your own, too. Polly has a hook (`OnFallback`), Envoy statistics per cluster, HTTP caches a header, `Cache-Status` (RFC 9211).
# - **asyncio**: the same code with one `await`. `asyncio.CancelledError` is a `BaseException`, so `except OSError` and even `except Exception` let it pass.
#   `AsyncRecommendationService` in the reference is this.
# - **Bound the cache.** A `dict` with an entry per user is a slow leak. Any mapping will do, an LRU one for instance.
# - **Copy lists at the border.** A page that appends to the list it got must not edit the cache, or everybody's `popular`. The reference stores tuples.
# - **A fallback must not share fate with what it replaces.** A popular list that is read from the same database is no third level. Neither is one that nobody
#   has tested since spring: run on it now and then, on purpose.
# - **Not everything may fall back.** An old recommendation is fine. An old bank balance is a wrong answer; there, fail.
# - Order matters: fallback(retry(breaker(timeout(call)))). The fallback is outermost; it must know `CircuitOpen` as a failure (it is no `OSError`!),
#   and without the timeout inside, everybody waits 10 s for their bestsellers.

# %% [markdown] id="takeaways"
# ### A runbook line
#
# > **`sum(rate(recommendations_total{level="static"}[5m])) / sum(rate(recommendations_total[5m])) > 0.1` for 5 min** → the recommender fails *and* the cache is running dry.
# > Is it up? Then look for exceptions that are no `OSError`. Don't restart the shop: its cache is all that users have left.
#
# ### Takeaways
#
# - A fallback turns an outage into a loss of quality. Measure the quality, or you have only hidden the outage.
# - One counter per level, counted where the answer is returned. The shares are your dashboard; static is your page.
# - Catch what you expect from a dead client. A bug and a cancellation are not outages.
# - An empty answer is an answer. Freshness is counted from the source, not from the last time somebody looked.
#
# **Next:** [17.2.5 — Timeouts](17.2.5-timeouts.ipynb): how long the whole thing may take.
