# %% [markdown] id="title"
# # 17.1.5 — A hung process: read the deadlock from a dump, without a restart
#
# | | |
# |---|---|
# | **Time** | 75–100 minutes |
# | **Difficulty** | ●●●●○ |
# | **You need** | `threading.Lock`, `with`, regular expressions or `str.split` |
# | **You write** | `find_deadlock`, then a `Cache` and a `DB` that cannot hang, about 60 lines; and a runbook |
# | **You can say afterwards** | who waits for whom in a process that says nothing, and why the fix is not a timeout |

# %% readonly="setup"
import re
import threading

from graders.kit import checks_for

check = checks_for("17.1.5")

# %% [markdown] id="incident"
# ## The incident
#
# **03:12.** The shop stops. No error is logged. No exception, no crash, no alarm from the CPU: it is at 0 %. The health check
# answers *200 OK*, because it runs in a thread that nobody has blocked. Customers look at a spinner.
#
# ![The shop serves 40 requests a second until second 20, then none. Within a second all 16 workers wait. The CPU falls from 50 % to 0 %.](figure:shared.widgets.deadlock.incident_figure)
#
# Somebody restarts the shop, and it is well again. Somebody also asks: *what was it?* Nobody knows. The evidence was in the process. It will
# come back, most likely at 03:12, when the price import runs.
#
# Tonight you look **before** you restart.

# %% [markdown] id="idea"
# ## The idea
#
# Two locks, two threads, opposite order:
#
# ```
# get:     with Cache.lock:                 update:  with DB.lock:
#              db.query(key)  # DB.lock                  cache.set(key, value)  # Cache.lock
# ```
#
# If each has its first lock when it asks for the second, both wait, for ever. Four things must hold at once (Coffman, 1971): a lock has **one holder**,
# who **keeps it while it waits**, **nobody takes it away**, and the waits form a **cycle**. Break any one of the four and no deadlock is possible.
#
# You see it in the **wait-for graph**: an arrow from each thread to the lock that it waits for, and from each lock to the thread that holds it.
# A thread waits for one lock, a lock has one holder. So there is at most one way to go on from everywhere:
#
# $$\text{deadlock} \iff \text{the arrows lead back to where you have been}$$
#
# "Everybody waits" is no proof. If the arrows lead to a thread that *works*, the shop is slow, and will go on.

# %% [markdown] id="worked-case-intro"
# ### The smallest worked case
#
# These are the two classes of the incident, in a few lines. They run under chosen schedules. Most of them end well, and that is why the bug
# lived for a year.

# %% id="hung-pair"
class HungDB:
    def __init__(self, rows):
        self.rows, self.lock = rows, threading.Lock()

    def query(self, key):
        with self.lock:
            return self.rows.get(key)

    def update(self, key, value):
        with self.lock:
            self.rows[key] = value
            self.cache.set(key, value)


class HungCache:
    def __init__(self, db):
        self.db, self.lock, self.entries = db, threading.Lock(), {}
        db.cache = self

    def get(self, key):
        with self.lock:
            if key not in self.entries:
                self.entries[key] = self.db.query(key)
            return self.entries[key]

    def set(self, key, value):
        with self.lock:
            self.entries[key] = value


# %% golden=true id="worked-case"
def worked_case():
    from shared.simulation import run, strategies

    def program():
        db = HungDB({"price": 10})
        cache = HungCache(db)
        reader = threading.Thread(target=cache.get, args=("price",), name="get")
        reader.start()
        db.update("price", 12)
        reader.join()

    failures = [
        run(program, strategy=strategy, answer=(HungCache, HungDB)).failure for strategy in strategies(seed=1, count=100)
    ]
    stuck = [failure for failure in failures if failure]
    print(f"{'most' if len(stuck) < 50 else 'few'} of 100 schedules end well, the others in a {stuck[0].kind}:")
    for thread in sorted(stuck[0].threads, key=lambda thread: thread["name"]):
        if thread["waits_for"]:
            print(f"  {thread['name']} waits for a lock that {thread['held_by']} holds")


worked_case()

# %% [markdown] id="dumps-intro"
# ### A process that hangs, for real
#
# The next cell starts the shop in a process of its own, lets it hang, and asks it three times what it is doing. It ends the process afterwards.
# Skim what it prints: the same dumps follow, recorded, with explanations.
# (On Windows there are no such signals: read the recorded dumps below.)

# %% id="hang"
import sys


def hang_for_real():
    from shared.observability.hung_process import HungProcess, PySpyRefused

    with HungProcess() as shop:
        print(f"$ kill -USR1 {shop.pid}\n\n{shop.lock_dump()}")
        print(f"$ kill -USR2 {shop.pid}   # faulthandler\n\n{shop.stack_dump()[:600]} …\n")
        try:
            print(f"$ py-spy dump --pid {shop.pid}\n\n{shop.py_spy_dump()[:600]} …")
        except PySpyRefused as refused:
            print(refused)


if sys.platform != "win32":
    hang_for_real()

# %% [markdown] id="faulthandler-intro"
# Here are the same three dumps, recorded, so that you can read them at leisure. First `faulthandler`, from the standard library. One line in your program
# (`faulthandler.register(signal.SIGUSR2)`) and it works, even when the interpreter itself is stuck. Two of its threads:
#
# ```
# Thread 0x00007fc8c2d3a6c0 (most recent call first):
#   File "thread_dump.py", line 81 in acquire
#   File "thread_dump.py", line 104 in __enter__
#   File "hung_process.py", line 152 in set
#   File "hung_process.py", line 132 in update
#   File "hung_process.py", line 168 in import_prices
#   File "/usr/lib/python3.11/threading.py", line 982 in run
#   File "/usr/lib/python3.11/threading.py", line 1045 in _bootstrap_inner
#   File "/usr/lib/python3.11/threading.py", line 1002 in _bootstrap
#
# Thread 0x00007fc8c353f6c0 (most recent call first):
#   File "thread_dump.py", line 81 in acquire
#   File "thread_dump.py", line 104 in __enter__
#   File "hung_process.py", line 124 in query
#   File "hung_process.py", line 148 in get
#   File "hung_process.py", line 165 in serve
#   File "/usr/lib/python3.11/threading.py", line 982 in run
#   File "/usr/lib/python3.11/threading.py", line 1045 in _bootstrap_inner
#   File "/usr/lib/python3.11/threading.py", line 1002 in _bootstrap
# ```

# %% [markdown] id="py-spy-intro"
# Every frame is there. But no thread has a name (before Python 3.14), and **no lock** is to be seen. Next: `py-spy dump`. Nothing has to be
# prepared in the program. It needs the right to trace a process.
#
# ```
# Thread 23175 (idle): "Thread-1 (serve)"
#     NamedLock.acquire (thread_dump.py:81)
#     NamedLock.__enter__ (thread_dump.py:104)
#     DB.query (hung_process.py:124)
#     Cache.get (hung_process.py:148)
#     _hang.<locals>.serve (hung_process.py:165)
#     Thread.run (threading.py:982)
#     Thread._bootstrap_inner (threading.py:1045)
#     Thread._bootstrap (threading.py:1002)
# Thread 23176 (idle): "Thread-2 (import_prices)"
#     NamedLock.acquire (thread_dump.py:81)
#     NamedLock.__enter__ (thread_dump.py:104)
#     Cache.set (hung_process.py:152)
#     DB.update (hung_process.py:132)
#     _hang.<locals>.import_prices (hung_process.py:168)
#     Thread.run (threading.py:982)
#     Thread._bootstrap_inner (threading.py:1045)
#     Thread._bootstrap (threading.py:1002)
# ```

# %% [markdown] id="py-spy-after"
# Names, and a state: all idle. *Both* threads are in some `acquire`. On which lock? Who has it? A `threading.Lock` does not know who holds it, so nobody
# who looks from outside can. You would have to read the source of each frame and guess.
#
# Java's `jstack` prints these lines, because every Java monitor knows its owner. So the course's handler prints py-spy's layout with jstack's lock
# lines. The price: the program makes its locks with `NamedLock("DB.lock")` in place of `threading.Lock()`, about 0.4 µs more for each use.
#
# ```
# Process 23174: Python 3.11.7
#
# Thread 0x00007FC8C41BBB80 (idle): "MainThread"
#     _hang (hung_process.py:178)
#     <module> (hung_process.py:194)
#     _run_code (<frozen runpy>:88)
#     _run_module_as_main (<frozen runpy>:198)
# Thread 0x00007FC8C353F6C0 (idle): "Thread-1 (serve)"
#     query (hung_process.py:124)
#     - waiting to lock <0x7fc8c362a480> (DB.lock)
#     - locked <0x7fc8c362a520> (Cache.lock)
#     get (hung_process.py:148)
#     serve (hung_process.py:165)
#     run (threading.py:982)
#     _bootstrap_inner (threading.py:1045)
#     _bootstrap (threading.py:1002)
# Thread 0x00007FC8C2D3A6C0 (idle): "Thread-2 (import_prices)"
#     set (hung_process.py:152)
#     - waiting to lock <0x7fc8c362a520> (Cache.lock)
#     - locked <0x7fc8c362a480> (DB.lock)
#     update (hung_process.py:132)
#     import_prices (hung_process.py:168)
#     run (threading.py:982)
#     _bootstrap_inner (threading.py:1045)
#     _bootstrap (threading.py:1002)
# Thread 0x00007FC8C25356C0 (idle): "metrics (idle)"
#     wait (threading.py:327)
#     wait (threading.py:629)
#     run (threading.py:982)
#     _bootstrap_inner (threading.py:1045)
#     _bootstrap (threading.py:1002)
# Thread 0x00007FC8C1D306C0 (idle): "Thread-3 (serve)"
#     get (hung_process.py:145)
#     - waiting to lock <0x7fc8c362a520> (Cache.lock)
#     serve (hung_process.py:165)
#     run (threading.py:982)
#     _bootstrap_inner (threading.py:1045)
#     _bootstrap (threading.py:1002)
# ```

# %% [markdown] id="lock-dump-after"
# Now follow the arrows with a finger. `Thread-1 (serve)` waits for `DB.lock`, which `Thread-2 (import_prices)` holds. That one waits for `Cache.lock`,
# which `Thread-1 (serve)` holds. Back at the start. `Thread-3 (serve)` waits too, but nobody waits for *it*: a victim, no culprit.
#
# ![The wait-for graph of the dump. Thread-1 (serve) and Thread-2 (import_prices) form a ring through the two locks, in orange. Thread-3 (serve) waits for Cache.lock from outside.](figure:shared.widgets.deadlock.recorded_graph)

# %% [markdown] id="predict"
# ## Predict
#
# Before you play, write down your answers.
#
# 1. Fifteen idle threads wait for `DB.lock`. Thread 16 holds it, waits for no lock, and is `idle` in `recv`. A deadlock?
# 2. A waits for B's lock, B for C's, C for B's. Which threads are the deadlock? Which one would you look at first?
# 3. You make both locks of the incident an `RLock`. Is the deadlock gone?
# 4. `update` gives up on `Cache.lock` after 100 ms and returns. Nobody hangs any more. What will customers see?
#
# <details><summary>Compare</summary>
#
# 1. No. Thread 16 waits for the network, and its answer may come. Slow, or a missing timeout, but no cycle of locks.
# 2. B and C. A waits from outside. With fifteen A's in the dump, the two that matter are easy to miss.
# 3. No. An `RLock` lets the *same* thread in twice. Here are two threads.
# 4. The old price, for ever: the row was written and the cache never heard of it. A hang has become a wrong number, which is worse to find.
#
# </details>

# %% [markdown] id="play-intro"
# ## Play
#
# You are the scheduler. Step `get` and `update` line by line until the ring closes. How few steps can you do it in? Then choose **one order**, and try to
# hang it. Last, **one lock at a time**: why is there nothing left to close?
#
# No kernel? The picture shows the way in.
#
# ![Four steps into a deadlock: get takes Cache.lock, update takes DB.lock, get waits for DB.lock, update waits for Cache.lock, and the ring of arrows is orange.](figure:shared.widgets.deadlock.deadlock_storyboard)

# %% id="play"
from shared.widgets.deadlock import deadlock_playground

deadlock_playground()

# %% [markdown] id="build"
# ## Build: the diagnosis
#
# These are all the rules; the checks test nothing else.
#
# Write `find_deadlock(dump)`, which reads a dump in the layout above and returns a list of thread names.
# - A thread begins with a line `Thread 0x… (STATE): "NAME"` and goes on until the next such line. STATE is `idle`, `active` or `active+gil`.
# - NAME is everything between the quotes. It may hold spaces and parentheses, even `(idle)`. No two threads have the same name, and no name has a quote in it.
# - `- waiting to lock <ADDRESS> (LABEL)`: it waits for this lock. At most one such line a thread.
# - `- locked <ADDRESS> (LABEL)`: it holds this lock. Any number of such lines.
# - A lock **is** its address, all of it. Labels repeat: a process may have two hundred locks called `lock`.
# - All other lines are free and say nothing about locks: frames (a function may be called `locked`), blank lines, locals with an address in them, jstack's
#   `- parking to wait for <…>`.
# - Only **idle** threads can be stuck. One that is `active` or `active+gil` goes on, whatever its lines say, and so does everybody behind it.
# - The result is the one cycle, two to five threads, in wait-for order: each waits for a lock that the next one holds, and the last for one of the first. Begin
#   with any of them; name each once.
# - Threads that wait for the cycle from outside are not in the list.
# - No cycle: `[]`. Also where all wait for a lock whose holder works, or waits for something else, or is not in the dump.
#
# A dump has at most one cycle. (A thread that waits for its own lock is not tested.)

# %% solution="find-deadlock"
def find_deadlock(dump: str) -> list[str]:
    """Return the names of the threads that wait for each other in a cycle, in wait-for order; [] if there is none."""
    ### BEGIN SOLUTION
    header = re.compile(r'Thread 0x[0-9A-Fa-f]+ \(([a-z+]+)\): "(.*)"')
    lock = re.compile(r"\s*- (waiting to lock|locked) <(.+?)>")
    waits, holder, name = {}, {}, None
    for line in dump.splitlines():
        if found := header.match(line):
            name = found[2] if found[1] == "idle" else None
        elif name is not None and (found := lock.match(line)):
            if found[1] == "locked":
                holder[found[2]] = name
            else:
                waits[name] = found[2]
    for start in waits:
        path = [start]
        while (following := holder.get(waits.get(path[-1]))) is not None:
            if following in path:
                return path[path.index(following) :]
            path.append(following)
    return []
    ### END SOLUTION

# %% [markdown] id="see-graph-intro"
# ## See: three dumps
#
# Your cycle above, the reference's below. Thick orange arrows are what was found. On the right nobody is stuck: `report` is active.

# %% id="see"
from shared.widgets.deadlock import compare_with_reference

compare_with_reference(find_deadlock)

# %% [markdown] id="build-fix"
# ## Build: the fix
#
# Now write the two classes so that they cannot hang. `threading` is there from the setup cell. The rules, all of them:
#
# **`DB(rows)`**: `rows` is a mutable mapping. Read a row by `rows.get(key)` or `rows[key]`; each costs a read.
# - `query(key)` returns the row, or None where there is none.
# - `update(key, value)` writes the row and keeps the cache fresh.
#
# **`Cache(db)`** sets `db.cache = self`: that is how an update finds it. (Each `DB` in the checks has one `Cache`, made before any call.)
# - `get(key)` returns the value of the key, or None where there is no row.
# - `set(key, value)` puts a value in, and the next `get` of that key reads no row. Your `update` may use it, or not.
#
# **Fresh.** A `get` (or `query`) that *starts after* an `update` has *returned* sees that update, or a later one. What overlaps an update may be old or new. When
# several updates of a key overlap, any may be the last; but later gets see what the table holds.
#
# **A cache.** A second `get` of an unchanged key reads no row. Values such as `0`, `""` and `False` are values. A key without a row is a key too: its second `get` reads no
# row either. An update of *another* key changes nothing. (This is tested with calls one after the other.)
#
# **Alive.** From any number of threads, in any order, every call returns. It is tried under 200 schedules, with a switch at every lock and every shared variable.
#
# How is up to you: one lock, an order of locks, one lock at a time with versions, a thread that owns it all, no lock at all.

# %% solution="cache-and-db"
class DB:
    """The table. Invariant: whoever starts to read after `update` has returned sees what it wrote, or something later."""

    def __init__(self, rows):
        ### BEGIN SOLUTION
        self.rows = rows
        self.versions = {}
        self.lock = threading.Lock()
        ### END SOLUTION

    def query(self, key):
        """Return the row, or None."""
        ### BEGIN SOLUTION
        return self.read(key)[1]

    def read(self, key):
        """The version of the row, and the row."""
        with self.lock:
            return self.versions.get(key, 0), self.rows.get(key)
        ### END SOLUTION

    def update(self, key, value):
        """Write the row, and keep the cache fresh."""
        ### BEGIN SOLUTION
        with self.lock:
            self.rows[key] = value
            version = self.versions[key] = self.versions.get(key, 0) + 1
        self.cache.offer(key, version, value)  # outside: never one lock inside the other
        ### END SOLUTION


class Cache:
    """What is known of the table, by key. Invariant: an older version never replaces a newer one."""

    def __init__(self, db):
        ### BEGIN SOLUTION
        self.db = db
        self.known = {}
        self.lock = threading.Lock()
        db.cache = self
        ### END SOLUTION

    def get(self, key):
        """Return the value of `key`, or None; read no row for a key that is known."""
        ### BEGIN SOLUTION
        with self.lock:
            if key in self.known:
                return self.known[key][1]
        return self.offer(key, *self.db.read(key))
        ### END SOLUTION

    def set(self, key, value):
        """Put `value` in for `key`."""
        ### BEGIN SOLUTION
        self.offer(key, self.db.read(key)[0], value)

    def offer(self, key, version, value):
        """Keep this value unless a newer one is known; return the one that is kept."""
        with self.lock:
            if key not in self.known or self.known[key][0] <= version:
                self.known[key] = version, value
            return self.known[key][1]
        ### END SOLUTION

# %% [markdown] id="see-schedules-intro"
# ## See: a hundred schedules
#
# One `get` beside one `update`, 100 times, each time in another order: the hung pair, yours, the reference. Orange is a deadlock. Yellow is worse
# in its way: nobody hangs, and the old price stays.

# %% id="see-schedules"
from shared.widgets.deadlock import explored_schedules

explored_schedules(Cache, DB)

# %% [markdown] id="check-intro"
# ## Check
#
# One property each. First the diagnosis, then the fix. A check that fails shows you the smallest dump or the fewest calls that break it.

# %% test="finds-the-cycle" points=3
check.finds_the_cycle(find_deadlock)

# %% test="slow-is-no-deadlock" points=2
check.slow_is_no_deadlock(find_deadlock)

# %% test="waiters-outside-are-not-named" points=2
check.waiters_outside_are_not_named(find_deadlock)

# %% test="active-threads-are-not-stuck" points=2
check.active_threads_are_not_stuck(find_deadlock)

# %% test="a-lock-is-its-address" points=1
check.a_lock_is_its_address(find_deadlock)

# %% test="names-are-taken-whole" points=1
check.names_are_taken_whole(find_deadlock)

# %% test="other-lines-are-free" points=1
check.other_lines_are_free(find_deadlock)

# %% test="never-deadlocks" points=4
check.never_deadlocks(Cache, DB)

# %% test="get-sees-the-last-update" points=2
check.get_sees_the_last_update(Cache, DB)

# %% test="stays-fresh-whatever-overlaps" points=4
check.stays_fresh_whatever_overlaps(Cache, DB)

# %% test="second-get-reads-no-row" points=2
check.second_get_reads_no_row(Cache, DB)

# %% test="absent-keys-are-none" points=1
check.absent_keys_are_none(Cache, DB)

# %% test="cache-is-known-to-its-db" points=1
check.cache_is_known_to_its_db(Cache, DB)

# %% [markdown] id="hints"
# ## Hints
#
# <details><summary>Hint 1: two questions per thread (a nudge)</summary>
#
# Whom does it wait for, and what does it hold? Two dictionaries answer both: thread → the lock that it waits for, and lock → the thread that holds it. Leave
# threads that are not idle out of both: then nobody waits for them either. From there it is one loop: from each waiting thread go on until you fall off the end, or
# come to a thread *on your own path*. The cycle begins where that thread stands on the path, not where you started.
#
# </details>
# <details><summary>Hint 2: reading the dump (the shape)</summary>
#
# ```
# for each line:
#     matches  Thread 0x… (STATE): "NAME"        → from here on it is this thread
#     matches  - waiting to lock <ADDRESS>       → waits[name] = address
#     matches  - locked <ADDRESS>                → holder[address] = name
#     anything else                              → nothing
# ```
#
# Match from the beginning of the line (`re.match` with `\s*` in front), and the whole of it. Then a frame called `locked` or a name with `(idle)` in it cannot fool you. The state is
# what stands in the *first* parentheses, before the colon. Collect the held locks: a thread may hold several.
#
# </details>
# <details><summary>Hint 3: who may hold what (the shape)</summary>
#
# Break one of Coffman's four. The cheapest for each:
#
# | you break | by | and pay with |
# |---|---|---|
# | the cycle | one order for everybody: first `Cache.lock`, then `DB.lock`, in `update` too | every future colleague must know the order |
# | more than one lock | one `RLock` for both (`self.lock = db.lock`) | a slow query holds up every hit |
# | holding while waiting | let go of the first before you take the second | you must say what is newer: next hint |
#
# `update` calls `cache.set` with the lock in its hand: a plain `Lock` would wait for its own thread. Mind *absent*: `entries.get(key)` is None for "not cached" and
# for "cached, and there is no row". Ask `key in entries`.
#
# </details>
# <details><summary>Hint 4: the late fill (nearly code)</summary>
#
# The classic, when no lock spans both. `get` misses and reads **old**. Then `update` writes **new** and tells the cache. Then `get` goes on and fills in **old**. It stays
# there for ever. Deleting the key in `update` does not help: the fill comes after it.
#
# Give each write of a key a number, under the table's lock. Read the number together with the row. The cache keeps what has the higher number:
#
# ```
# offer(key, version, value):
#     with the cache's lock:
#         unless a newer version is known: known[key] = version, value
#         return the value that is known
# ```
#
# `get` offers what it has read, `update` offers what it has written, each after it has let go of the table's lock.
#
# </details>
#
# ### "I get…"
#
# | You see | Look at |
# |---|---|
# | a thread too many in the list | return the path *from the cycle's first thread on*, not from your start |
# | `[]` for a cycle of three | you look for pairs; or a thread's second `locked` line replaces its first |
# | a cycle where a thread is active | does the lock's holder count, though it is not idle? |
# | "waits for a lock that … itself holds" | a plain `Lock`, taken twice by one thread |
# | "waits for", with two threads | opposite order, somewhere: write down for each method what it holds when it calls the other class |
# | `it gave 1` when all is quiet | the late fill; or two updates told the cache in the other order than the table |
# | "read 1 row" for an absent key | None is a value here |

# %% [markdown] id="break-it-intro"
# ## Break it
#
# The fix that everybody tries first: a timeout on the second lock. The price is in the cache. Somebody asks for the tax, which is not, while the import writes a new price.
# Nothing hangs any more, and all is quiet. Run it.

# %% golden=true id="break-it"
def timeout_on_the_second_lock():
    from shared.simulation import run, strategies

    class HastyDB(HungDB):
        def update(self, key, value):
            with self.lock:
                self.rows[key] = value
                if self.cache.lock.acquire(timeout=0.1):
                    self.cache.entries[key] = value
                    self.cache.lock.release()

    def program():
        db = HastyDB({"price": 10, "tax": 2})
        cache = HungCache(db)
        cache.get("price")
        reader = threading.Thread(target=cache.get, args=("tax",), name="get")
        reader.start()
        db.update("price", 12)
        reader.join()
        return cache.get("price")

    served = [run(program, strategy=each, answer=(HungCache, HastyDB)).value for each in strategies(seed=1, count=100)]
    print(f"{len(served)} schedules, and no deadlock. Prices that customers see afterwards: {sorted(set(served))}")


timeout_on_the_second_lock()

# %% [markdown] id="break-it-after"
# The table says 12. In more than a third of the schedules the cache says 10, and nothing will ever correct it.

# %% [markdown] answer="explain-the-timeout" points=2
# *In at most eight sentences: which of Coffman's four conditions does the timeout break, and what does it pay with? In the wrong schedules, who could notice? Name one way
# to keep the timeout and still end up right.*
#
# <!-- ### BEGIN SOLUTION -->
# It breaks the second: `update` no longer keeps `DB.lock` while it waits, because it gives up. It pays with the cache: the row is written, and the cache is never told. Nobody gets
# an error, so nobody notices before somebody compares cache and table: a customer who pays 10 for what costs 12. One could count the timeouts, and page for them. To keep the timeout:
# take both locks before anything is written. If the second does not come in time, let go of the first, wait for a random moment, and begin again. (Or raise and put the old row back,
# so that the caller knows. Or give each entry of the cache a time to live: then it is wrong for so long and no longer.)
# <!-- ### END SOLUTION -->

# %% [markdown] id="runbook-intro"
# ## The runbook
#
# Write down what you did, for somebody who is woken at 03:12 and has never seen this shop. Numbered steps, exact commands, at least one branch ("if there is no cycle…"). It is graded by
# hand. Its points do not count towards the score of the checks. It should say:
#
# - how one knows that the shop hangs and is not slow;
# - which command takes the dump, and where the dump is kept;
# - what to look for in it, what to do if there is a cycle, and what if there is none;
# - when to restart, and who is told;
# - how one sees that it is over.
#
# Write it into the cell below, in place of what stands there.

# %% [markdown] answer="runbook" points=4
# <!-- ### BEGIN SOLUTION -->
# 1. **Hung or slow?** Requests in flight stand still above 0, `top` shows 0 % CPU, the log is silent: it hangs. CPU or log at work: it is slow, go to the runbook for latency.
# 2. **Evidence first.** `kill -USR1 PID`, and once more after 10 s. The dumps are on the shop's stderr: copy both into the ticket. No handler? `py-spy dump --pid PID > dump.txt`.
# 3. **Read.** `find_deadlock(dump)`, or by hand: from a `waiting to lock <address>` to the thread with `locked` and the same address, and on from there.
# 4. **If there is a cycle**, the same in both dumps: restart the shop. Send both dumps to the team that owns the two locks.
# 5. **If there is no cycle**: find the thread that all wait for, and look at its top frame. A socket: look at the other side. Restart only if that does not help within 10 minutes.
# 6. **Tell** the on-call lead before the restart, and the shop's owner after it.
# 7. **Over?** Check that requests are served again and requests in flight go up and down, for 10 minutes.
# <!-- ### END SOLUTION -->

# %% [markdown] id="runbook-advice-intro"
# Save the notebook, then run this cell. It looks at the structure only, and gives advice. No points depend on it.

# %% id="runbook-advice"
from shared.widgets.deadlock import runbook_advice

runbook_advice()

# %% [markdown] id="production"
# ## In production
#
# The same thing under other names:
#
# | | how to get the dump | what it says about locks |
# |---|---|---|
# | Go | `kill -QUIT` (ends the process!), or `/debug/pprof/goroutine?debug=2` | `semacquire`, and for how many minutes; no holder. If *all* goroutines sleep the runtime says so by itself |
# | Java | `jstack PID`, `kill -3`, `jcmd PID Thread.print` | waiting to lock, locked; and it prints `Found one Java-level deadlock` for you |
# | .NET | `dotnet-dump collect`, then `syncblk` | owner and number of waiters of each monitor |
# | C, C++ | `gdb -p PID -batch -ex 'thread apply all bt'` | glibc keeps the owner: `p mutex.__data.__owner` |
# | Rust | `parking_lot`'s feature `deadlock_detection` | a background thread looks for cycles |
# | PostgreSQL | `pg_locks`, `pg_blocking_pids(pid)` | finds the cycle after 1 s (`deadlock_timeout`) and ends one of the two |
# | Python | `faulthandler`, `py-spy dump` (`--native` for C frames) | no locks; hence the handler of this exercise |
#
# - A database may break a deadlock, because a transaction can be rolled back. Your `with` block can't. That is why prevention matters more in code.
# - **Never call out while you hold a lock**: no callback, no listener, no query, no logging handler that may block. Most deadlocks of real programs are callbacks.
# - An order of locks must be *checked*: the Linux kernel's `lockdep` complains at the first wrong order, not at the first hang. In tests, `shared.simulation.explore` does.
# - asyncio deadlocks too: `asyncio.Lock` twice, or a task that awaits itself. `asyncio.all_tasks()` and `task.print_stack()` are its dump.
# - Copies of rows in a cache: memcache calls Hint 4's numbers *leases* (Nishtala et al., NSDI 2013).

# %% [markdown] id="takeaways"
# ### A runbook line
#
# > **`requests_in_flight` stands still above 0, CPU at 0 %, nothing in the log** → before any restart: `kill -USR1 PID`, twice, 10 s apart; keep both. The same threads with the same
# > addresses in a ring: a deadlock; restart, and send the dump to the owner of the two locks. No ring: find the thread that all wait for, and look at what *it* waits for.
#
# ### Takeaways
#
# - A hang is silent. The evidence is in the process, and a restart burns it.
# - Follow the arrows. A cycle is a deadlock; a queue behind somebody who works is not.
# - Break the cycle by design: one lock, one order, or one at a time. A timeout only trades a hang for a wrong answer.
# - When you stop holding a lock across two steps, something must say what is newer.
#
# **Next:** [17.2.1 — A circuit breaker](../17.2-resilience/17.2.1-circuit-breaker.ipynb): the process is well, and what it calls is not.
