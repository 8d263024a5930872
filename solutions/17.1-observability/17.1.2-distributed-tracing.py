# %% [markdown] id="title"
# # 17.1.2 — Distributed tracing: one request, followed through every thread
#
# | | |
# |---|---|
# | **Time** | 60–90 minutes |
# | **Difficulty** | ●●●○○ |
# | **You need** | threads and `concurrent.futures.Future`, context managers; [17.1.1](17.1.1-instrumented-worker-pool.ipynb) helps; no OpenTelemetry yet |
# | **You write** | one class and one function, `TracedWorkerPool` and `process_request`, about 40 lines |
# | **You can say afterwards** | why a trace falls apart at a thread pool, and the two rules that keep it whole |

# %% readonly="setup"
import contextvars
from concurrent.futures import Future, ThreadPoolExecutor, wait

from opentelemetry.trace import Status, StatusCode

from graders.kit import checks_for
from shared.observability.contracts import Saturated, correlation_id, process_item
from shared.observability.worker_pool import WorkerPool

check = checks_for("17.1.2")

# %% [markdown] id="incident"
# ## The incident
#
# **03:21.** Order 4711 took 4 s, says the customer. Her photos go through a pool of 3 workers, one task per photo. The team has paid for
# tracing, so this will be quick.
#
# The trace of order 4711 has **one span**: `process_request`, 0.25 s, green. The backend also has 80,000 spans named `process_item`, each
# alone in a trace of its own. Some of them are slow. *Which of them were hers?* The logs would tell, if their lines had the order's id.
# In the handler they have. In the workers, where the time went, they say `correlation_id=None`.
#
# At 04:40 somebody finds the slow photo, with `grep`, by the size of the file.
#
# ![Two waterfalls of the same work. On the left, what the traces said: ten traces; two requests of a quarter of a second, and seven items, each alone without a parent. On the right, what happened: three traces, in which each request spans all of its items.](figure:shared.widgets.tracing.incident_figure)
#
# Nobody forgot to trace. Both functions had their span. It got lost *between* them, where the work changed threads.

# %% [markdown] id="idea"
# ## The idea
#
# A **span** is one piece of work: a name, a start, an end, a status, some attributes. It names its **parent**, the span that was
# *current* when it began. Spans with a common root are a **trace**. That tree is all a tracing backend has.
#
# "Current" must mean something in a program with many threads. In Python it is an entry in a **context**: a small immutable map that
# belongs to the running thread (`contextvars`; OpenTelemetry keeps its current span there). And here is the trouble:
#
# ```mermaid
# flowchart LR
#     subgraph caller["the request's thread"]
#         R["process_request<br/>is current"] --> S["pool.submit(fn)"]
#     end
#     S -->|the queue carries fn, nothing else| W
#     subgraph worker["a worker's thread"]
#         W["fn() runs"] --> N["current: whatever<br/>this thread had before"]
#     end
# ```
#
# A worker was started long ago. Its context is empty, or, worse, it holds what the last task left there. So two rules:
#
# 1. **The task carries its submitter's context.** `contextvars.copy_context()` takes it, at submit, in constant time. `ctx.run(fn)` runs `fn`
#    in it, and whatever happens inside stays in that copy: nothing to undo, nothing to leak.
# 2. **A parent ends last.** A span that ends when all tasks are *submitted* says that the request was quick:
#
# $$\text{end}(\text{request}) \;\ge\; \max_{i}\ \text{end}(\text{item}_i)$$

# %% [markdown] id="worked-case-intro"
# ### The smallest worked case
#
# Eight tasks under one span, once handed to a plain executor, once run in a copy of the context. How many of them find their parent?

# %% golden=true id="worked-case"
def worked_case(carry):
    from shared.observability.tracing import SpanRecorder

    recorder = SpanRecorder()  # a tracer whose spans stay in memory

    def task():
        with recorder.tracer.start_as_current_span("task"):
            pass

    with recorder.tracer.start_as_current_span("request") as request, ThreadPoolExecutor(4) as executor:
        for _ in range(8):
            executor.submit(carry(task))

    tasks = [span for span in recorder.spans if span.name == "task"]
    return sum(span.parent is not None and span.parent.span_id == request.context.span_id for span in tasks)


def carried(task):
    mine = contextvars.copy_context()  # here, where the task is handed over
    return lambda: mine.run(task)


print("plain executor:", worked_case(lambda task: task), "of 8 tasks have the request as their parent")
print("copy_context:  ", worked_case(carried), "of 8")

# %% [markdown] id="predict"
# ## Predict
#
# Before you play, write down your answers.
#
# 1. You copy the context *once* per request and run all its items in that one copy, `ctx.run(item)`, in three workers. What happens?
# 2. A task calls OpenTelemetry's `context.attach(…)` in the worker, which makes a context current by hand, and never detaches. The next task of that worker is a nightly sweep that belongs to
#    no request. In whose trace is it?
# 3. You end each item's span in `future.add_done_callback(…)`. The request waits for all futures, then ends its span. Is the order right?
# 4. An item calls `sys.exit()` inside `with tracer.start_as_current_span(…)`. Which status does its span have?
#
# <details><summary>Compare</summary>
#
# 1. `RuntimeError: cannot enter context: … is already entered`, as soon as two items run at once. A copy belongs to one task.
# 2. In the trace of the request before: it was left there. Nobody sees it in tests, because the first request on a fresh worker looks fine.
# 3. Almost always, which is the worst kind of right. `set_result` wakes the waiter *first* and calls the callbacks after. Sometimes the request's
#    span ends in between.
# 4. None: `UNSET`. OpenTelemetry's context manager sets ERROR for an `Exception`. `SystemExit` is a `BaseException` and no `Exception`. (The
#    library does this on purpose, for `GeneratorExit`. Your pool wants to know all the same.)
#
# </details>

# %% [markdown] id="play-intro"
# ## Play
#
# Two requests and a sweep on three workers, every ten seconds. Above: what ran. In the middle: what the spans say about it. The three switches are
# the three mistakes; each counts from the next pair of requests on.
#
# Switch on **end the parent early**: how long did request A take, by its own span? Then switch on **forget to detach** alone. All seven items
# are fine! Look at the sweep. Then switch on the first and the last together, and find A4's parent.
#
# No kernel? The picture shows all four.
#
# ![Four waterfalls of the same round. All is well: three traces, each item below its request. Forget to copy the context: seven items without a parent. End the parent early: both requests end after a quarter of a second and their items go on. Forget to detach: the sweep hangs below a request that it has nothing to do with.](figure:shared.widgets.tracing.mistakes_storyboard)

# %% id="play"
from shared.widgets.tracing import tracing_playground

tracing_playground()

# %% [markdown] id="logs-intro"
# ### The same context, in the logs
#
# The context carries more than the span. `correlation_id` is a `ContextVar` too: the order's number, set once at the edge. A log processor
# reads both. Look at the three lines: one id, one trace, two spans.

# %% id="logs"
def logged_request():
    import structlog

    from shared.observability.traced_worker_pool import TracedWorkerPool as Reference
    from shared.observability.traced_worker_pool import process_request as process
    from shared.observability.tracing import SpanRecorder, add_trace_context

    log = structlog.wrap_logger(
        structlog.PrintLogger(),
        processors=[add_trace_context, structlog.processors.LogfmtRenderer(key_order=["event", "correlation_id"])],
    )
    tracer = SpanRecorder().tracer
    correlation_id.set("order-4711")
    with tracer.start_as_current_span("handler"), Reference(2, 8, tracer) as pool:
        log.info("received")
        process(tracer, pool, [lambda: log.info("resizing a cat")])
        log.info("done")


contextvars.copy_context().run(logged_request)

# %% [markdown] id="build"
# ## Build
#
# You are given, from the setup cell:
#
# - `WorkerPool(workers, queue_size)` with `submit(fn, *args) -> Future` and `shutdown(wait=True)`: threads and a bounded queue, as in 17.1.1. It raises
#   `Saturated` when it is full. Its workers survive whatever a task raises. You may use it or not.
# - `process_item(item)`: the work on one item. It may raise, and it may open spans of its own.
# - `correlation_id`: a `ContextVar`, a string or `None`.
# - `contextvars`, `Future` and `wait`, OpenTelemetry's `Status` and `StatusCode`. Import what else you like, such as `from opentelemetry import context, trace`.
#
# These are all the rules; the checks test nothing else.
#
# **`TracedWorkerPool(workers, queue_size, tracer)`**, with `submit(fn, *args) -> Future` and `shutdown(wait=True)`
# - `submit` comes back without waiting for the task. As many tasks as there are `workers` run side by side, and no more, in threads of the pool.
# - Exactly one span per task, made by `tracer`, named `fn.__name__`.
# - It is a child of the span that is current *at submit*. None is current: it is a root.
# - It is the current span while `fn` runs, so that spans which `fn` opens are children of it. It may begin at submit or in the worker.
# - A task that raises has the status ERROR, whatever it raises, `BaseException` too.
#
# **`process_request(tracer, pool, items)`**, where `pool` is your pool
# - Opens exactly one span, `process_request`: a child of the caller's current span, or a root. When it is back, the caller's own span is current again.
# - Submits `process_item` for each item, waits for all, returns a list of the results in the order of the items. No items: an empty list.
# - If items raised (again, `BaseException` too), it raises the very exception of the first of them *in the order of the items*, after all have ended.
# - Its span ends no earlier than those of its items. A span ends when its `end()` is called.
#
# **The correlation id**
# - The request's span and its tasks' spans carry the attribute `correlation_id`. Is it `None`, they carry no such attribute. (The empty string is an id
#   like any other.)
# - In the task, `correlation_id.get()` is what it was at submit.
# - The worker's next task sees neither span nor id of the one before, however that ended.
#
# Not tested: what happens when the pool is full, cancelled tasks, functions without a name, attributes of spans that `process_item` opens itself, the
# request's own status, and all further attributes and events.

# %% solution="traced-worker-pool"
class TracedWorkerPool:
    """Runs each task in a span of its own, a child of the span that was current where it was submitted.

    Invariant: a task sees the context of its submitter, and leaves nothing of it in the worker.
    """

    def __init__(self, workers: int, queue_size: int, tracer):
        ### BEGIN SOLUTION
        self._tracer = tracer
        self._pool = WorkerPool(workers, queue_size)
        ### END SOLUTION

    def submit(self, fn, *args) -> Future:
        """Have a worker call `fn(*args)`, in the caller's context."""
        ### BEGIN SOLUTION
        return self._pool.submit(contextvars.copy_context().run, self._run, fn, args)

    def _run(self, fn, args):
        with self._tracer.start_as_current_span(fn.__name__, attributes=_attributes()) as span:
            try:
                return fn(*args)
            except BaseException as error:
                span.set_status(Status(StatusCode.ERROR, f"{type(error).__name__}: {error}"))
                raise
        ### END SOLUTION

    def shutdown(self, wait=True):
        """Take no more tasks; those accepted still run. `wait`: return when all have ended."""
        ### BEGIN SOLUTION
        self._pool.shutdown(wait)


def _attributes():
    correlation = correlation_id.get()
    return {} if correlation is None else {"correlation_id": correlation}
        ### END SOLUTION


def process_request(tracer, pool, items):
    """The results of `process_item` for all `items`, in their order, computed by `pool` inside one span."""
    ### BEGIN SOLUTION
    with tracer.start_as_current_span("process_request", attributes=_attributes()):
        futures = [pool.submit(process_item, item) for item in items]
        wait(futures)
        return [future.result() for future in futures]
    ### END SOLUTION

# %% [markdown] id="see-intro"
# ## See
#
# Two orders on two workers, and a sweep after them; the second order has a photo that does not exist. The reference's waterfall, and yours.

# %% id="see"
from shared.widgets.tracing import compare_with_reference

compare_with_reference(TracedWorkerPool, process_request)

# %% [markdown] id="check-intro"
# ## Check
#
# One property each. A check that fails shows you the smallest case that breaks it: spans are numbered as they begin, and a timeline shows
# which thread did what. Time is simulated.

# %% test="task-span-is-child-of-its-submitter" points=2
check.task_span_is_child_of_its_submitter(TracedWorkerPool, process_request)

# %% test="span-is-current-while-the-task-runs" points=1
check.span_is_current_while_the_task_runs(TracedWorkerPool, process_request)

# %% test="requests-do-not-mix" points=3
check.requests_do_not_mix(TracedWorkerPool, process_request)

# %% test="next-task-sees-neither-span-nor-id" points=2
check.next_task_sees_neither_span_nor_id(TracedWorkerPool, process_request)

# %% test="request-has-one-span" points=1
check.request_has_one_span(TracedWorkerPool, process_request)

# %% test="request-span-ends-last" points=3
check.request_span_ends_last(TracedWorkerPool, process_request)

# %% test="results-in-item-order-or-the-first-error" points=2
check.results_in_item_order_or_the_first_error(TracedWorkerPool, process_request)

# %% test="raising-task-has-error-status" points=1
check.raising_task_has_error_status(TracedWorkerPool, process_request)

# %% test="correlation-id-is-on-every-span" points=2
check.correlation_id_is_on_every_span(TracedWorkerPool, process_request)

# %% [markdown] id="hints"
# ## Hints
#
# <details><summary>Hint 1: who carries the context (a nudge)</summary>
#
# `submit` runs in the caller's thread, and that is the only place where the caller's context can be read. Read it there and send it along *with the
# task*: as an argument, or in a closure. Not on `self`: between your line and the next, another request may submit. `contextvars.copy_context()` holds
# the span and the id, and everything else that anybody put into the context.
#
# </details>
# <details><summary>Hint 2: the shape of one task (the shape)</summary>
#
# ```
# in submit:      mine = copy_context()
# in the worker:  mine.run(↓)
#                     open a span named fn.__name__, make it current, give it the id
#                     call fn; if it raises anything: status ERROR, raise on
#                     the span ends
# then:           the Future is resolved
# ```
#
# The last two lines are in this order for a reason. If you attach and detach by hand instead, the detach stands in a `finally`, and so does the
# reset of the id.
#
# </details>
# <details><summary>Hint 3: the request (nearly code)</summary>
#
# Everything happens *inside* `with tracer.start_as_current_span("process_request", …)`:
#
# 1. submit all, keep the futures in a list, in the order of the items;
# 2. `wait(futures)`: back when all have ended, however they did;
# 3. only now ask each for its `result()`, in order. The first that raised raises here, and leaves through the `with`.
#
# Without step 2, step 3 leaves at the first error while later items still run. With `as_completed`, results come in the order of their ends.
#
# </details>
#
# ### "I get…"
#
# | You see | Look at |
# |---|---|
# | "it is a root" | the span was opened in the worker's own context: carry the submitter's |
# | "cannot enter context: … is already entered" | one copy for several tasks: take one per submit |
# | "the span of another request", a few switches between threads | the context passes through an attribute of the pool |
# | the next task "is a child of …" | attached, not detached; or detached only after success |
# | "it ended after it, at the same instant" | the span ends in a callback of the Future, or after the Future was resolved |
# | "its status is UNSET" for `SystemExit` | `start_as_current_span` sees only `Exception`: set the status yourself |
# | "0 such spans" | a span of another name, another tracer, or one that nobody ended: it never reaches the exporter |

# %% [markdown] id="break-it-intro"
# ## Break it
#
# One worker, one seat in the queue, four items. The pool refuses the third. Nothing here is wrong by the rules above. Run it and read the tree.

# %% golden=true id="break-it"
def refused_in_the_middle():
    import time

    from shared.observability.traced_worker_pool import TracedWorkerPool as Reference
    from shared.observability.tracing import SpanRecorder, trace_tree
    from shared.simulation import VirtualTime

    recorder = SpanRecorder()

    def request(pool):
        with recorder.tracer.start_as_current_span("process_request"):
            futures = [pool.submit(process_item, lambda: time.sleep(1.0)) for _ in range(4)]
            wait(futures)
            return [future.result() for future in futures]

    def program():
        with Reference(1, 1, recorder.tracer) as pool:
            try:
                request(pool)
            except Saturated as error:
                print(f"at {time.monotonic():.0f} s the caller gets {type(error).__name__}")

    VirtualTime().run(program)
    print(trace_tree(recorder.spans))


refused_in_the_middle()

# %% [markdown] answer="explain-the-refusal" points=2
# *In at most eight sentences: which of the two rules does this trace break, and by which line? What will somebody conclude who looks at this
# trace at 3 AM? Change `request` in two different ways so that the tree is whole again, and say what each costs the caller.*
#
# <!-- ### BEGIN SOLUTION -->
# It breaks the second, a parent ends last. The third `submit` raises inside the list comprehension, so `wait(futures)` is never reached, and the `with` ends the request's span at 0 s
# while two items work until 2 s. At 3 AM one reads: refused at once, it cost nothing. In truth the worker was busy for two seconds with results that nobody wanted. One way: keep the
# futures in a list of their own and `wait` for them in a `finally`; the caller hears of the refusal only after 2 s. The other: on `Saturated`, `cancel()` those that have not begun
# and wait for the one that runs. The caller waits for 1 s, and what has been done is thrown away.
# <!-- ### END SOLUTION -->

# %% [markdown] id="production"
# ## In production
#
# | | context lives in | crosses a pool by | trap |
# |---|---|---|---|
# | here | `contextvars` | `copy_context().run` | one copy, one task |
# | asyncio | `contextvars` | `create_task` copies by itself | `run_in_executor` does not; `asyncio.to_thread` does |
# | OpenTelemetry's `ThreadingInstrumentor` (Python) | OpenTelemetry's part of it | patches `Thread`, `Timer`, `ThreadPoolExecutor.submit` | your other ContextVars stay behind |
# | Go | `ctx context.Context`, an argument | you pass it; the closure captures it | `defer span.End()` runs before the goroutines end: wait for the `WaitGroup` first |
# | Java | a `ThreadLocal`, `Context.current()` | `Context.taskWrapping(executor)` | `Scope` not closed: the leak of this chapter |
# | Java, virtual threads | `ScopedValue` (preview for long) | `StructuredTaskScope` inherits it, and the scope ends last | needs a new JDK |
# | C# | `AsyncLocal`, `Activity.Current` | flows by itself through `Task.Run` | fire-and-forget work outlives its parent |
# | between services | HTTP header `traceparent` | `inject` and `extract` | a proxy that drops it starts a new trace |
#
# - To see this chapter's traces in Jaeger, give a provider an `OTLPSpanExporter(endpoint="http://127.0.0.1:4318/v1/traces")` behind a
#   `BatchSpanProcessor`; `deploy/` has a Jaeger. Without one: `json.dump(jaeger_json(recorder.spans), file)`, and Jaeger's page opens that file.
# - Never export in the task's own thread: a slow collector would slow down your workers. The batch processor drops spans instead. That is the right trade.
# - Work that *should* outlive its request (send a mail later) is no child. Start a root and **link** it to the request's span.
# - You will not keep every trace. Decide at the root (head sampling) or, better for rare failures, in the collector (tail sampling). Tasks follow their
#   parent, if they have one: orphans are sampled one by one.
# - An attribute such as the id belongs on *all* spans, those of libraries too. A `SpanProcessor.on_start` that reads the `ContextVar` puts it there.

# %% [markdown] id="takeaways"
# ### A runbook line
#
# > **A request's span is short and the customer waited** → look for root spans with the names of its parts (`process_item` without a parent): the context
# > is lost at a hand-over between threads. Until it is mended, search the logs by `correlation_id`.
# > **A span hangs below a request that ended long ago** → a worker kept a context. Look at who else uses that pool, and for `attach` without `finally`.
#
# ### Takeaways
#
# - A queue carries what you put in. The context is not in it until you put it in.
# - Take the copy where the work is handed over, one per task. What runs in a copy cannot leak.
# - A parent ends last: wait for all, then collect, then end.
# - One id, one trace, in every span and every log line: that is the difference between 3 minutes and 80.
#
# **Next:** [17.1.3 — Dashboards](17.1.3-dashboards.ipynb): one look, and you know whether it is well.
