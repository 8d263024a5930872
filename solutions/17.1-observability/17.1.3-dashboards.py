# %% [markdown] id="title"
# # 17.1.3 — A dashboard: well or not in ten seconds, why in two minutes
#
# | | |
# |---|---|
# | **Time** | 60–90 minutes |
# | **Difficulty** | ●●○○○ |
# | **You need** | [17.1.1](17.1.1-instrumented-worker-pool.ipynb): counters, gauges, histograms. No Grafana, no PromQL yet |
# | **You write** | one function, `build_dashboard()`, about 70 lines of configuration |
# | **You can say afterwards** | which twelve pictures a pipeline owes to its on-call, in which order, and why the first three have no need of numbers |

# %% readonly="setup"
from grafana_foundation_sdk.builders import (
    common,
    dashboard,
    gauge,
    heatmap,
    logs,
    loki,
    prometheus,
    stat,
    table,
    timeseries,
)
from grafana_foundation_sdk.models.common import BigValueColorMode
from grafana_foundation_sdk.models.dashboard import Dashboard, DataSourceRef, Threshold, ThresholdsMode

from graders.kit import checks_for

check = checks_for("17.1.3")

# %% [markdown] id="incident"
# ## The incident
#
# **03:20.** The page says "image pipeline". You open the dashboard. It has 41 panels, because for three years everybody added one and nobody dared
# to remove one. Panel 1 is the number of Git commits. Panel 9 is the mean latency: 1.4 s. *Is that bad? Since when?* Panel 23 is one line, "queue", the sum of
# four queues. It is high. *Which one?*
#
# You scroll for eleven minutes. The answer was there: the resize stage is full. It was in no panel, only in their data.
#
# ![Above: two curves over two hours, mean latency and the sum of all queues. From 03:00 on both rise, and neither says whether that is bad or where it comes from. Below: the same data as three coloured tiles, red, green, green, and one line per stage, of which only resize rises.](figure:shared.widgets.dashboard.incident_figure)
#
# Same metrics, same two hours. Above, what they had. Below, what you will build.

# %% [markdown] id="idea"
# ## The idea
#
# A dashboard is read from the top by a tired person. So order it by the questions in their order:
#
# ```mermaid
# flowchart LR
#     A["1 Is it well?<br/>3 lights<br/>10 seconds"] --> B["2 What is full?<br/>queues, workers, CPU, memory"]
#     B --> C["3 How slow, for how many?<br/>heatmap, percentiles"]
#     C --> D["4 What fails?<br/>by type, top 5, log lines"]
# ```
#
# **RED for what users feel** (row 1): **R**ate, **E**rrors, **D**uration. **USE for what you own** (row 2), for each resource: **U**tilisation,
# how busy it is; **S**aturation, how much work waits; **E**rrors. The first says *that* something is wrong, the second *where*.
#
# A light is a number and its **thresholds**. Grafana takes the colour of the last step that the value reaches:
#
# $$\text{p99} = 0.97\,\text{s}: \quad \underbrace{-\infty}_{\text{green}} \le \underbrace{0.5}_{\text{yellow}} \le 0.97 < \underbrace{1.0}_{\text{red}} \;\Rightarrow\; \text{yellow}$$
#
# Three rules of PromQL carry all twelve panels.
#
# | you want | you write | because |
# |---|---|---|
# | how fast a counter grows | `rate(requests_total[5m])` | the counter itself only says for how long the process has been up |
# | one number out of many series | `sum(…)`, or `sum by (stage) (…)` | each route, type and instance is a series of its own |
# | a percentile | `histogram_quantile(0.99, sum by (le) (rate(…_bucket[5m])))` | the buckets are told apart by `le` alone. Lose it, and nothing is left |

# %% [markdown] id="worked-case-intro"
# ### The smallest worked case
#
# One panel, its thresholds, and what it shows of a recorded incident: the resize stage gets slow at 03:00, for 45 minutes.

# %% golden=true id="worked-case"
def worked_case():
    from shared.observability.dashboard_layout import colour_of, samples
    from shared.observability.recording import load

    steps = [(float("-inf"), "green"), (0.5, "yellow"), (1.0, "red")]
    buckets = "rate(request_duration_seconds_bucket[5m])"
    onset = load("slow-stage").onset
    for name, query in {
        "p99": f"histogram_quantile(0.99, sum by (le) ({buckets}))",
        "without le": f"histogram_quantile(0.99, sum({buckets}))",
    }.items():
        for minutes in (-10, 2, 20, 65):
            shown = samples(query, 3600.0, "slow-stage", (onset + 60 * minutes,))
            told = [f"{values[0]:.2f} s, {colour_of(steps, values[0])}" for _, values in shown] or ["no data"]
            print(f"{name:<10}  {minutes:>3} min after 03:00: {told[0]}")


worked_case()

# %% [markdown] id="worked-case-after"
# `sum` without `by (le)` is no error. It is a quiet panel that says "No data", in any incident.

# %% [markdown] id="predict"
# ## Predict
#
# Before you play, write down your answers.
#
# 1. 2 % of all requests fail, all of them with type `timeout`. What does `rate(requests_failed_total[5m]) / rate(requests_total[5m])` return? The first has
#    labels `route` and `type`, the second `route`.
# 2. Your light for throughput is red below 25 requests/s. In which order do its steps stand?
# 3. `topk(5, …)` over an hour, as a range query: there are 6 series. How many can the panel show?
#
# <details><summary>Compare</summary>
#
# 1. Nothing. Series of both sides meet when *all* their labels are equal. `sum` both sides.
# 2. Red first: it is the base, from −∞. Then yellow from 25, green from 40. Steps always ascend; here the *colours* run backwards.
# 3. All 6. A range query is an instant query per step, and each step chooses its own five.
#
# </details>

# %% [markdown] id="play-intro"
# ## Play
#
# A finished dashboard, drawn from its own JSON, on recorded incidents. Choose one, drag the scrubber, or press play.
#
# Cover everything but row 1 with your hand. *Well or not?* Then take the hand away: which stage is it, or which error? Two of the incidents leave all
# three lights green. In which of them is something wrong all the same, and should anybody be woken for it?
# (Red is drawn as a dark orange, with ✗: it can be told from green by more eyes.)
#
# No kernel? The picture shows four of them.
#
# ![Row 1 and the queue panel in four situations. Healthy: three green lights, no queue. Slow stage: latency red, resize has a queue. Errors: the error light red. Store saturated: three green lights, and a queue at store.](figure:shared.widgets.dashboard.dashboard_storyboard)

# %% id="play"
from shared.widgets.dashboard import dashboard_playground

dashboard_playground()

# %% [markdown] id="build"
# ## Build
#
# Write `build_dashboard()`. It returns a built `Dashboard` of the Grafana Foundation SDK (call `.build()` at the end). These are all the rules; the checks
# test nothing else.
#
# **Layout.** Four rows of exactly 3, 4, 2, 3 panels, in this order. A row is a row panel (open or collapsed) with its panels, or simply panels of one height
# (`gridPos.y`). Titles are free.
#
# | row | panels |
# |---|---|
# | 1 | p99 latency · error ratio · throughput |
# | 2 | queue size per stage · active workers and their maximum · CPU · memory |
# | 3 | heatmap of latencies · p50, p90 and p99 |
# | 4 | errors by type · top 5 errors · log stream of errors |
#
# **Row 1** is of type `stat` or `gauge`: one query, one value each. Steps are absolute and named "green", "yellow", "red", the stat's colour mode is
# `background`. A value that equals a step has reached it.
# - p99, in seconds, of all requests or of the worst route, but no mean of percentiles: yellow from somewhere in 0.4 to 0.9, red from 1.0.
# - Failed requests ÷ requests, a ratio (0.05 is 5 %): yellow from 0.01, red from 0.05.
# - Requests per second: red below 25, yellow from 25, green from 40.
#
# The lights are looked at 10 minutes before an incident, 20 and 40 minutes into it, and 20 minutes after it. Windows up to 15 minutes are good for that. At each look the colour
# must be right. In the largest incidents the value must be right as well, within 8 %.
#
# **Rows 2 to 4**
# - The queue panel shows one series per stage. The workers panel shows both metrics.
# - The heatmap is of type `heatmap` and keeps the buckets apart by `le`. Latencies are in seconds.
# - Errors by type: at least a series per type. Top 5: at most five series, the most frequent types of error, by an **instant** query. The log stream is of type `logs`;
#   its query is yours, and nobody runs it here.
# - Counters (`…_total`, `…_bucket`) appear as rates or increases only; gauges never do. First the rate, then the sum. Every query returns data.
#
# **Data sources**: uid `prometheus`, and `loki` for the logs, at the panel or at its query. `$__rate_interval` and `$__interval` count as 5m.
#
# **The metrics**: `request_duration_seconds_bucket{route,le}`, `requests_total{route}`, `requests_failed_total{route,type}`, with types db, timeout,
# decode; `worker_pool_queue_size{stage}`, `worker_pool_workers_active{stage}`, `worker_pool_workers_max{stage}`, with stages load, decode, resize, store;
# `process_cpu_seconds_total`, `process_resident_memory_bytes`. All have `instance` and `job`, too. Scrapes come every 30 s.
#
# The SDK in one example: every setter returns the builder, and panels place themselves in the grid of 24 columns.

# %% golden=true id="sdk"
def sdk_example():
    from shared.observability.dashboard_layout import layout_of

    cpu = (
        gauge.Panel()
        .title("CPU")
        .span(12)
        .datasource(DataSourceRef(type_val="prometheus", uid="prometheus"))
        .with_target(prometheus.Dataquery().expr("rate(process_cpu_seconds_total[$__rate_interval])"))
    )
    board = dashboard.Dashboard("Demo").with_row(dashboard.Row("Resources")).with_panel(cpu).build()
    for row in layout_of(board).rows:
        print(row.title, [(panel.title, panel.kind, panel.queries[0].expr) for panel in row.panels])


sdk_example()

# %% solution="dashboard"
def build_dashboard() -> Dashboard:
    """Well or not in row 1; what is full, how slow, and what fails in the rows below."""
    ### BEGIN SOLUTION
    metrics = DataSourceRef(type_val="prometheus", uid="prometheus")
    buckets = "sum by (le) (rate(request_duration_seconds_bucket[$__rate_interval]))"
    failed, total = "rate(requests_failed_total[$__rate_interval])", "rate(requests_total[$__rate_interval])"

    def query(expr, legend=""):
        return prometheus.Dataquery().expr(expr).legend_format(legend)

    def light(title, unit, expr, steps):
        thresholds = dashboard.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE)
        return (
            stat.Panel()
            .title(title)
            .unit(unit)
            .with_target(query(expr))
            .thresholds(thresholds.steps([Threshold(value=value, color=colour) for value, colour in steps]))
            .color_mode(BigValueColorMode.BACKGROUND)
            .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        )

    def graph(title, unit, *queries):
        panel = timeseries.Panel().title(title).unit(unit)
        for letter, (expr, legend) in zip("ABC", queries, strict=False):
            panel.with_target(query(expr, legend).ref_id(letter))
        return panel

    rows = {
        "Is it well?": [
            light(
                "p99 latency",
                "s",
                f"histogram_quantile(0.99, {buckets})",
                [(None, "green"), (0.5, "yellow"), (1.0, "red")],
            ),
            light(
                "Error ratio",
                "percentunit",
                f"sum({failed}) / sum({total})",
                [(None, "green"), (0.01, "yellow"), (0.05, "red")],
            ),
            light("Throughput", "reqps", f"sum({total})", [(None, "red"), (25.0, "yellow"), (40.0, "green")]),
        ],
        "What is full?": [
            graph("Queue size", "short", ("max by (stage) (worker_pool_queue_size)", "{{stage}}")),
            graph(
                "Workers",
                "short",
                ("sum by (stage) (worker_pool_workers_active)", "{{stage}} active"),
                ("sum by (stage) (worker_pool_workers_max)", "{{stage}} max"),
            ),
            graph("CPU", "short", ("rate(process_cpu_seconds_total[$__rate_interval])", "cores")),
            graph("Memory", "bytes", ("process_resident_memory_bytes", "resident")),
        ],
        "How slow?": [
            heatmap.Panel().title("Latencies").with_target(query(buckets, "{{le}}").format("heatmap")),
            graph(
                "Percentiles",
                "s",
                *((f"histogram_quantile({q}, {buckets})", f"p{q * 100:g}") for q in (0.5, 0.9, 0.99)),
            ),
        ],
        "What fails?": [
            graph("Errors by type", "reqps", (f"sum by (type) ({failed})", "{{type}}")),
            table.Panel().title("Top 5 errors").with_target(
                query(f"topk(5, sum by (type, route) ({failed}))").instant().format("table")
            ),
            logs.Panel().title("Recent errors").with_target(
                loki.Dataquery().expr('{job="image-pipeline"} |= "ERROR"')
            ),
        ],
    }
    board = dashboard.Dashboard("Image pipeline").time("now-1h", "now").refresh("30s")
    for title, panels in rows.items():
        board.with_row(dashboard.Row(title))
        for panel in panels:
            source = DataSourceRef(type_val="loki", uid="loki") if isinstance(panel, logs.Panel) else metrics
            board.with_panel(panel.datasource(source).span(24 // len(panels)).height(6))
    return board.build()
    ### END SOLUTION

# %% [markdown] id="see-intro"
# ## See
#
# Your dashboard beside the reference, 20 minutes into the slow stage. Does your row 1 say "not well" before you read a word? Do you find the stage?

# %% id="see"
from shared.widgets.dashboard import compare_with_reference

compare_with_reference(build_dashboard)

# %% [markdown] id="check-intro"
# ## Check
#
# One property each. A check that fails names the panel, the incident, and the colour or the lines that it saw. Your queries are evaluated over
# recorded incidents, as Prometheus would.

# %% test="four-rows-in-order" points=2
check.four_rows_in_order(build_dashboard)

# %% test="every-query-returns-data" points=2
check.every_query_returns_data(build_dashboard)

# %% test="row-one-needs-no-numbers" points=2
check.row_one_needs_no_numbers(build_dashboard)

# %% test="latency-turns-with-p99" points=3
check.latency_turns_with_p99(build_dashboard)

# %% test="errors-turn-with-the-ratio" points=3
check.errors_turn_with_the_ratio(build_dashboard)

# %% test="throughput-turns-with-the-traffic" points=2
check.throughput_turns_with_the_traffic(build_dashboard)

# %% test="bottleneck-is-visible" points=2
check.bottleneck_is_visible(build_dashboard)

# %% test="counters-are-rates" points=1
check.counters_are_rates(build_dashboard)

# %% test="latencies-are-distributed" points=2
check.latencies_are_distributed(build_dashboard)

# %% test="errors-are-split-by-type" points=1
check.errors_are_split_by_type(build_dashboard)

# %% test="top-five-is-an-instant-query" points=1
check.top_five_is_an_instant_query(build_dashboard)

# %% test="data-sources-are-named" points=1
check.data_sources_are_named(build_dashboard)

# %% [markdown] id="hints"
# ## Hints
#
# <details><summary>Hint 1: rows and panels (a nudge)</summary>
#
# Begin with twelve panels that have a title and a data source and nothing else, and let the first check be green. Four lists of panels and one loop do it:
#
# ```
# for title, panels in rows.items():
#     board.with_row(dashboard.Row(title))
#     for panel in panels:
#         board.with_panel(panel.span(24 // len(panels)))
# ```
#
# The data source is the same for eleven of twelve panels. Set it in the loop, too: `panel.datasource(DataSourceRef(type_val="loki", uid="loki"))`
# for the logs.
#
# </details>
# <details><summary>Hint 2: the queries (the shape)</summary>
#
# From the inside out: the metric, then `rate(…[$__rate_interval])` if it is a counter, then `sum by (what the panel tells apart)`, then the function.
#
# | panel | tells apart |
# |---|---|
# | the three lights | nothing: `sum(…)`, but `sum by (le)` inside `histogram_quantile` |
# | queues, workers | `stage` |
# | heatmap, percentiles | `le` |
# | errors by type | `type` |
# | top 5 | `type`, and whatever else helps, such as `route` |
#
# Gauges (queues, workers, memory) need no rate. `.instant()` makes a query an instant one.
#
# </details>
# <details><summary>Hint 3: the colours (nearly code)</summary>
#
# ```
# stat.Panel().thresholds(
#     dashboard.ThresholdsConfig()
#     .mode(ThresholdsMode.ABSOLUTE)
#     .steps([Threshold(value=None, color="green"), Threshold(value=0.5, color="yellow"), …])
# ).color_mode(BigValueColorMode.BACKGROUND)
# ```
#
# The base has the value `None`. For throughput the base is "red". The query decides the unit of a step: a ratio of 0.02 never reaches a step of 1, even where
# the unit `percentunit` *shows* it as 2 %.
#
# </details>
#
# ### "I get…"
#
# | You see | Look at |
# |---|---|
# | "returns nothing in 50 minutes" | a typo in a name, `le` lost in a `sum`, or two sides of a `/` with different labels |
# | "it shows 2 values, not one" | an outer `sum(…)` is missing: you see one value per route |
# | green, and it should be red | a mean in place of p99; steps in per cent; steps that do not ascend |
# | red, 20 minutes after the end | the window of `rate` is longer than 15 minutes |
# | "a builder; call its build()" | the last line: `return board.build()` |
# | "takes each fall for a restart" | `rate` of a gauge: every fall counts as if the process had begun again from 0 |
# | "1 line, none by stage" | a `sum` without `by (stage)`: the sum of four queues hides the stage |

# %% [markdown] id="break-it-intro"
# ## Break it
#
# The mean is the number that everybody puts on a dashboard first. Here are three incidents, by mean and by p99. One and the same threshold: red from 1 s.

# %% golden=true id="break-it"
def mean_against_p99():
    from shared.observability.dashboard_layout import samples
    from shared.observability.recording import load

    queries = {
        "mean": "sum(rate(request_duration_seconds_sum[5m])) / sum(rate(request_duration_seconds_count[5m]))",
        "p99": "histogram_quantile(0.99, sum by (le) (rate(request_duration_seconds_bucket[5m])))",
    }
    for name in ("near-slo", "slow-requests", "slow-stage"):
        moment = load(name).onset + 20 * 60
        told = {what: samples(query, 3600.0, name, (moment,))[0][1][0] for what, query in queries.items()}
        print(f"{name:<14}" + "".join(f"  {what} {value:.2f} s" for what, value in told.items()))


mean_against_p99()

# %% [markdown] answer="explain-the-mean" points=2
# *In at most eight sentences: who are the users that the mean does not show in `slow-requests`, and how many an hour are they at 50 requests/s? Construct an incident
# that your own row 1 sleeps through although many users suffer (think of routes, of a window, or of requests that never arrive). Which panel or light would
# you add, and what would you remove for it?*
#
# <!-- ### BEGIN SOLUTION -->
# They are the 5 % whose requests take 3.5 s: 50 × 3600 × 0.05 = 9,000 an hour. They add 0.17 s to the mean, which stays far below 1 s. Row 1 sleeps while every request of a route
# fails that has 0.9 % of the traffic: the ratio over all routes is 0.9 %, below yellow, and failures are fast, so p99 is green. It sleeps, too, while requests hang: the histogram
# counts a request when it ends. I would add a light for the *worst* route, the `max` over routes of failed ÷ all. For it I would remove memory from row 2: nobody has ever acted on it
# at night, and when it runs out, the lights show it.
# <!-- ### END SOLUTION -->

# %% [markdown] id="production"
# ## In production
#
# Your function's JSON is what Grafana reads from disk. `deploy/` has a Grafana that finds it there, with a Prometheus that holds a recorded incident:
#
# ```
# python -m tools.services --export slow-stage
# docker compose -f deploy/compose.yml up --wait        # http://127.0.0.1:3000
# ```
#
# | | dashboards as | good at |
# |---|---|---|
# | here: Grafana Foundation SDK | Python (Go, TypeScript, Java, PHP) → JSON | types, tests like these, one function per kind of panel |
# | grafonnet | Jsonnet → JSON | the Kubernetes mixins: dashboards, rules and runbooks of one source |
# | Terraform, `grafana_dashboard` | JSON in HCL | dashboards beside the rest of the infrastructure; the state shows drift |
# | Grafana provisioning | files that Grafana reloads | no API, no token; edits in the browser cannot be saved |
# | Datadog | JSON by API or Terraform, `timeboard`, monitors | thresholds belong to monitors; the screen shows their state |
#
# - Clicked dashboards rot. Let people click to *explore*, and let only a review change the one that pages lead to.
# - `$__rate_interval` is at least four scrapes long, so `rate` always finds two samples. A fixed `[1m]` with a scrape a minute finds one, and shows gaps.
# - The heatmap's query needs the format `heatmap`: Prometheus' buckets are cumulative (`le`: *less or equal*), and Grafana takes them apart.
# - Give each query its own `refId` (`.ref_id("A")`). The SDK leaves it empty.
# - Red and green are the same colour for one man in twelve. A light's position and its number still speak.
# - RED is Tom Wilkie's, USE Brendan Gregg's. Google's four golden signals are RED plus saturation: the first two rows.

# %% [markdown] id="takeaways"
# ### A runbook line
#
# > **Latency is red** → row 2: has one stage a queue, and all workers active? Then that stage is the bottleneck: add workers there, or shed load. No queue
# > anywhere? Row 3: is the whole heatmap higher, or a second band above it? A band is a slow dependency of *some* requests.
# > **Only throughput is red** → nobody asks. Look at what stands before you: DNS, the load balancer, a deploy of the clients.
#
# ### Takeaways
#
# - A dashboard is an order of questions. Whatever answers none of them, goes.
# - Row 1 is for users (RED), row 2 for resources (USE). Symptoms first, causes below.
# - Colour needs a threshold, a threshold needs an agreement: write the SLO into the code.
# - `rate` before `sum`, `sum by (le)` before `histogram_quantile`, `sum` on both sides of a ratio.
# - A panel without data looks calm. Test your queries against a day on which something broke.
#
# **Next:** [17.1.4 — Alerts](17.1.4-alerts.ipynb): nobody looks at a dashboard at 3 AM unless something wakes them.
