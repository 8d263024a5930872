# %% [markdown] id="title"
# # 17.1.4 — Alerts: wake me for the outage, not for the blip
#
# | | |
# |---|---|
# | **Time** | 60–90 minutes |
# | **Difficulty** | ●●●○○ |
# | **You need** | YAML, a little PromQL (`rate`, `sum by`); [17.1.1](17.1.1-instrumented-worker-pool.ipynb) helps |
# | **You write** | one text, `rules`: a Prometheus rule file with at least five alerts, about 35 lines |
# | **You can say afterwards** | why an alert was silent, why another one cried wolf, and how long `for` has to be |

# %% readonly="setup"
from graders.kit import checks_for

check = checks_for("17.1.4")

# %% [markdown] id="incident"
# ## The incident
#
# **03:00.** The database loses an index, and one request in five fails. The alert for it works. Pending at 03:01:30, firing at 03:06:30,
# the page goes out. The phone of the engineer on call lights up, face down, muted, in a drawer.
#
# It had paged 27 times this month. Each time for a blip of two minutes that was over before the laptop was open. On day 12 she muted it. *You would have, too.*
#
# ![Above: 27 pages in 30 quiet days, each for a blip of at most two minutes. Below: in the incident 20 % of the requests fail for 45 minutes; the alert fires after 6.5 minutes with for: 5m, and after 9.5 minutes with for: 8m.](figure:shared.widgets.alerts.incident_figure)
#
# Look at the two bars at the bottom. With `for: 8m` the page comes three minutes later, and the 27 others never come. That is the trade this exercise is about.

# %% [markdown] id="idea"
# ## The idea
#
# An alert rule is a PromQL expression that is evaluated again and again. As long as it returns *anything*, the alert is active: first pending, then firing.
#
# ```mermaid
# stateDiagram-v2
#     direction LR
#     [*] --> inactive
#     inactive --> pending: the expression returns a series
#     pending --> firing: as long as for says, without a gap
#     pending --> inactive: it returns nothing, even once
#     firing --> inactive: it returns nothing (resolved)
# ```
#
# Three decisions are yours.
#
# **What pages.** Page for *symptoms*, what users feel: slow answers, failed answers. A full pool is a *cause*: perhaps it hurts somebody soon, perhaps never. It gets a warning,
# for working hours. These are the four golden signals of Google's SRE book: latency, errors, traffic, saturation.
#
# **Over which ratio.** "5 % of the requests fail" is failures per second divided by requests per second. Counters only rise, so each goes through `rate` first. And a division
# in PromQL matches series **whose labels are equal**. `requests_failed_total` has a label `type` which `requests_total` lacks, so nothing has a partner, and the result is empty.
# An empty result is no error. It is an alert that never fires. `sum()` takes the labels away on both sides.
#
# **How long.** `rate(…[5m])` remembers: a blip of 2 min stays in the window for $5 + 2 = 7$ min. `for` has to outlast that, or the blip pages.
#
# $$\text{for} \ge \text{window} + \text{blip} \qquad\qquad \text{time to page} \approx \text{until the ratio crosses} + \text{for}$$

# %% [markdown] id="worked-case-intro"
# ### The smallest worked case
#
# Half an hour into the incident, the same division three ways. The numbers were recorded from the course's simulated image pipeline; its metrics are listed under *Build*.
# Change the expressions and ask your own.

# %% golden=true id="worked-case"
def ask(*expressions, recording="errors-20", minute=30):
    from shared.observability.promql import evaluate_at
    from shared.observability.recording import load

    data = load(recording)
    for expression in expressions:
        print(expression)
        found = evaluate_at(expression, data, data.onset + 60 * minute)
        for labels, value in found:
            print(f"    {labels} {value:.3f}")
        if not found:
            print("    nothing")


ask(
    "rate(requests_failed_total[5m]) / rate(requests_total[5m])",
    "sum(rate(requests_failed_total[5m])) / sum(rate(requests_total[5m]))",
    "sum(requests_failed_total) / sum(requests_total)",
)

# %% [markdown] id="worked-case-after"
# The first is silent for ever. The last has no `rate`: it is the ratio since the process started, and four quiet hours drown half an hour of outage.

# %% [markdown] id="listing-intro"
# ### The listing that everybody copies
#
# Alert rules in talks and tutorials often look like this. Let us take it literally.

# %% golden=true id="listing"
def taken_literally():
    from shared.observability.alerting import RulesError, parse_rules

    listing = """
- alert: CriticalErrorRate
  expr: rate(requests_failed_total[5m]) / rate(requests_total[5m]) > 0.05
  severity: critical
"""
    grouped = "groups:\n- name: mine\n  rules:\n  " + listing.strip().replace("\n", "\n  ")
    for text in (listing, grouped):
        try:
            parse_rules(text)
        except RulesError as error:
            print("refused:", error, "\n")


taken_literally()

# %% [markdown] id="listing-after"
# `promtool check rules` refuses it as well. Inside `groups`, with the severity under `labels`, it loads. And then it never fires, as you saw above.

# %% [markdown] id="predict"
# ## Predict
#
# Before you play, write down your answers. All rates are over 5 min, scraped and evaluated every 30 s.
#
# 1. 20 % of the requests begin to fail at 03:00. `ratio > 0.05`, `for: 8m`. When does it fire?
# 2. All requests fail for two minutes, then all is well. `ratio > 0.05`, `for: 5m`. Does it page?
# 3. 5 % of the requests take 3.5 s, the others 0.1 s. What is the mean? What is the p99? Which of the two notices?
# 4. At night nobody comes, so there are no requests. What is `errors / requests`, and does `> 0.05` fire? And `unless (good / requests > 0.95)`?
#
# <details><summary>Compare</summary>
#
# 1. The ratio climbs over five minutes, to 20 %. It crosses 5 % after a quarter of that, with the third scrape: 03:01:30. Then eight minutes: 03:09:30.
# 2. Yes. For seven minutes bad requests are in the window, and even 2 min of 5 are 40 %. With `for: 8m` it does not.
# 3. Mean 0.27 s, p99 3.5 s. (`histogram_quantile` says 4.5 s: it only knows that they lie between the buckets 2.5 and 5.) The mean hides the worst 5 %. The p99 is made of them.
# 4. 0/0 is NaN, and NaN is never greater than anything: silent, as it should be. But NaN > 0.95 is not true either, so `unless` takes nothing away, and the second one pages all
#    night.
#
# </details>

# %% [markdown] id="play-intro"
# ## Play
#
# One page, a replayed month, and incidents in which it has to fire (or must not). The dials recount everything at once. Begin as it stands: 27 pages for blips.
#
# - Find the smallest `for` without a page. Then take the window of 2 min, and of 10 min. Roughly, what is the rule?
# - With the window of 10 min: can you have no page *and* the incident within 12 min?
# - Keep `for` at 0 and raise the threshold until the month is quiet. What did you pay?
#
# No kernel? The picture shows the first two.
#
# ![Left: pages in 30 quiet days against for; there are none once for is as long as the window plus two minutes. Right: minutes until 20 % errors page; a minute more for each minute of for.](figure:shared.widgets.alerts.alerts_storyboard)

# %% id="play"
from shared.widgets.alerts import alerts_playground

alerts_playground()

# %% [markdown] id="build"
# ## Build
#
# Write `rules`, the text of a Prometheus rule file. These are all the rules; the checks test nothing else.
#
# **What is recorded.** `request_duration_seconds` (histogram: `…_bucket{route,le}`, `…_sum{route}`, `…_count{route}`; seconds; `le` has "1.0" and "+Inf"), `requests_total{route}`,
# `requests_failed_total{route,type}`, `worker_pool_queue_size{stage}`, `worker_pool_workers_active{stage}`, `worker_pool_workers_max{stage}`, `worker_pool_rejected_total{stage}`,
# `process_cpu_seconds_total`, `process_resident_memory_bytes`. Series may have `instance` and `job`, too. Normal traffic is 50 requests/s. The SLO for p99 is 1.0 s.
#
# **The file.** Prometheus takes it. Every alert has two labels: `severity`, which is `critical` (it pages) or `warning`, and `signal`, which is `latency`, `errors`, `saturation` or
# `traffic`. Names, annotations, recording rules, windows, `for` and `keep_firing_for` are free.
#
# **The alerts.** At least these five:
#
# | signal | severity | when | fires by |
# |---|---|---|---|
# | latency | critical | p99 is over the SLO (in the check, 5 % of the requests take 3.5 s) | 12 min |
# | errors | critical | more than 5 % fail (in the check, 20 %) | 12 min |
# | errors | warning | more than 1 % fail (in the check, 2 %, and nobody is paged) | 15 min |
# | traffic | warning | more than three times the normal traffic (in the check, four times) | 15 min |
# | saturation | warning, never critical | one stage works at 100 %; users notice nothing, nobody is paged | 20 min |
#
# The thresholds count as they are written. With 4 % failing, a p99 of 0.97 s and 2.6 times the traffic, nobody is paged and no alert on traffic fires. Nor with 0.8 % slow requests
# at that traffic. With 8 % failing, a p99 of 1.3 s and 3.6 times the traffic, all three fire within the 45 min.
#
# Each incident comes after at least 3 h of quiet and lasts 45 min. Minutes count from its onset. An alert that was firing before does not count.
#
# **Silence.**
# - Nothing fires in the first minute of an incident.
# - 20 min after the incident is over, every alert is resolved.
# - Nobody is paged in 30 quiet days, with blips of at most 2 min and of any height, and traffic that changes at most threefold between hours. Warnings are free there.
# - Missing series and zero traffic fire nothing.
#
# **How it is evaluated.** Every 30 s in incidents and every 60 s in the quiet days, which is also how often the metrics are scraped: `rate` needs two samples in its window. A group's own
# `interval` counts where it is longer than that. The version is Prometheus 2, where a group has `name`, `interval`, `limit` and `rules`. A file has at most 60 rules and 60,000 characters.

# %% solution="alert-rules"
rules = ""  # your rule file: rules = """groups: …"""
### BEGIN SOLUTION
rules = """
groups:
  - name: image-pipeline
    rules:
      - record: requests:rate5m
        expr: sum(rate(requests_total[5m]))
      - record: requests:error_ratio:rate5m
        expr: sum(rate(requests_failed_total[5m])) / requests:rate5m
      - alert: LatencyOverSLO
        expr: histogram_quantile(0.99, sum by (le) (rate(request_duration_seconds_bucket[5m]))) > 1.0
        for: 8m
        labels: {severity: critical, signal: latency}
        annotations: {summary: "p99 is {{ $value | humanizeDuration }}, the SLO is 1 s"}
      - alert: ErrorsCritical
        expr: requests:error_ratio:rate5m > 0.05
        for: 8m
        labels: {severity: critical, signal: errors}
        annotations: {summary: "{{ $value | humanizePercentage }} of the requests fail"}
      - alert: ErrorsElevated
        expr: requests:error_ratio:rate5m > 0.01
        for: 8m
        labels: {severity: warning, signal: errors}
      - alert: StageSaturated
        expr: avg_over_time(worker_pool_workers_active[10m]) / worker_pool_workers_max > 0.95
        for: 5m
        labels: {severity: warning, signal: saturation}
        annotations: {summary: "{{ $labels.stage }} has had no free worker for 10 min"}
      - alert: TrafficUnusual
        expr: requests:rate5m > 3 * avg_over_time(requests:rate5m[2h] offset 15m)
        for: 8m
        labels: {severity: warning, signal: traffic}
"""
### END SOLUTION

# %% [markdown] id="see-intro"
# ## See
#
# Your alerts in the five incidents beside the reference's. Blue is pending, orange is a page, yellow is a warning; the grey band is the incident. A row that stays empty is an
# incident that nobody hears of.

# %% id="see"
from shared.widgets.alerts import compare_with_reference

compare_with_reference(rules)

# %% [markdown] id="check-intro"
# ## Check
#
# One property each. Your rules are fired over recorded metrics, by an evaluator that the course compares with a real Prometheus.

# %% test="prometheus-takes-the-rules" points=2
check.prometheus_takes_the_rules(rules)

# %% test="latency-pages-in-time" points=2
check.latency_pages_in_time(rules)

# %% test="many-errors-page-in-time" points=2
check.many_errors_page_in_time(rules)

# %% test="few-errors-warn-only" points=2
check.few_errors_warn_only(rules)

# %% test="traffic-warns-in-time" points=2
check.traffic_warns_in_time(rules)

# %% test="saturation-warns-and-never-pages" points=2
check.saturation_warns_and_never_pages(rules)

# %% test="thresholds-are-kept" points=2
check.thresholds_are_kept(rules)

# %% test="quiet-days-page-nobody" points=2
check.quiet_days_page_nobody(rules)

# %% test="nothing-to-see-fires-nothing" points=2
check.nothing_to_see_fires_nothing(rules)

# %% test="alerts-resolve" points=2
check.alerts_resolve(rules)

# %% [markdown] id="hints"
# ## Hints
#
# <details><summary>Hint 1: the file (a nudge)</summary>
#
# ```yaml
# groups:
#   - name: any-name
#     rules:
#       - alert: AnyName
#         expr: …
#         for: 8m
#         labels: {severity: critical, signal: errors}
# ```
#
# Prometheus knows `labels` and `annotations`, and nothing beside them that routes. A duration is `8m` or `1h30m`, without spaces. A text with `: ` or `{{` needs quotes in YAML.
#
# </details>
# <details><summary>Hint 2: the expressions (the shape)</summary>
#
# - errors: `sum(rate(failed)) / sum(rate(all))`, a number from 0 to 1.
# - latency: `histogram_quantile(0.99, …)` needs the label `le` and wants everything else summed away; or the share above the bucket `le="1.0"`. Label values are text: "1.0" is not "1".
# - saturation: active workers divided by how many there are, per stage. One sample says little; an average over minutes says a lot.
# - traffic: three times *what*? A number (50 requests/s is known), or the average of some hours. Before an incident there are only 3 h of history, so "yesterday" is empty.
#
# If an alert is silent, take its expression apart with `ask(…)` above. The part that returns nothing is the culprit.
#
# </details>
# <details><summary>Hint 3: window and for (nearly code)</summary>
#
# | window | sees a blip of 2 min for | so `for` | 20 % errors page after |
# |---|---|---|---|
# | 2 min | 4 min | ≥ 4 min | 5 min |
# | 5 min | 7 min | ≥ 7 min | 8.5 min |
# | 10 min | 12 min | ≥ 12 min | 14.5 min: too late |
#
# The playground's month gets by with a minute less, because a blip falls between two scrapes. Scrapes also get lost, so rather leave a minute of room. At the other end: an alert resolves when the window is clean, plus `keep_firing_for`. `max_over_time(…[1d])` is clean tomorrow.
#
# </details>
# <details><summary>Hint 4: when there is nothing (a nudge)</summary>
#
# A comparison with NaN or with nothing returns nothing, and that is what you want. Trouble comes from the detours: `unless`, `absent()`, `or vector(0)`, `== 0`. Each turns "nothing" into
# something. Say what is *bad* and compare with `>`. (Somebody should hear of a service that is gone. That is another alert, on `up`, and not a signal of this exercise.)
#
# </details>
#
# ### "I get…"
#
# | You see | Look at |
# |---|---|
# | "severity stands outside labels" | Hint 1 |
# | "none fires in the whole incident" | `ask(…)` for each half of the expression: labels that differ, `le` lost, a unit (ms, %), a window without history |
# | "is pending from 1.5 min on and fires 16.5 min after" | `for` |
# | "fires 0.5 min after the onset" | no `for` |
# | "has been firing since … before the incident" | the condition is always true: `increase` is not per second, `histogram_quantile(99, …)` |
# | pages in the quiet month, "firing for 1 min" | `for` is shorter than window + blip |
# | "nobody to be paged" | the 5 % of the page, or a cause with severity critical |
# | "no page, and no alert on traffic", with 2.6 times the traffic | a threshold below the table's, or a count per second where the table has a share |
# | "is never resolved" | `max_over_time`, a counter without `rate`, a long `keep_firing_for` |

# %% [markdown] id="break-it-intro"
# ## Break it
#
# The month was quiet, the rules are perfect, nobody was paged. And how much of the error budget is left? An SLO of 99.9 % lets one request in a thousand fail. Run it.

# %% golden=true id="break-it"
def budget_of_the_month():
    from shared.observability.promql import evaluate_at
    from shared.observability.recording import load

    month, allowed = load("quiet-month"), 0.001
    ratio = "sum(increase(requests_failed_total[30d])) / sum(increase(requests_total[30d]))"
    ((_, failed),) = evaluate_at(ratio, month, month.times[-1])
    print(f"the quiet month: {failed:.2%} failed, {failed / allowed:.1f} times the budget of {allowed:.1%}")
    print(f"a steady 0.9 %, just below the warning: {0.009 / allowed:.0f} times the budget, and no alert at all")
    print(f"one outage of 20 % for 45 min: {0.2 * 45 / (30 * 24 * 60) / allowed:.0%} of the budget, and a page")


budget_of_the_month()

# %% [markdown] answer="explain-the-slow-burn" points=2
# *In at most eight sentences: why do rules like yours not see the first two, however well they are tuned? Write one more alert that would (expression, `for`, severity), say after how long it
# fires at a steady 0.9 %, and why it should not page at 3 AM. Why would a lower threshold be the wrong repair?*
#
# <!-- ### BEGIN SOLUTION -->
# Our rules ask whether it is bad *now*; the budget asks how much has failed *in all*. `for` hides the blips on purpose, and 0.9 % never crosses 1 %. One more alert:
# `sum(rate(requests_failed_total[3d])) / sum(rate(requests_total[3d])) > 0.001`, `for: 1h`, severity `warning`. At a steady 0.9 % after a clean start the ratio over three days
# reaches 0.1 % after 3 d × 0.1 / 0.9 = 8 h, so it fires after 9 h. Nobody has to get up: at nine times the budget, a month's budget lasts for more than three days. A lower
# threshold over five minutes would fire for every blip and for chance: 0.1 % of five minutes are 15 requests.
# <!-- ### END SOLUTION -->

# %% [markdown] id="production"
# ## In production
#
# The same file runs as it is: `make services` starts Prometheus and Alertmanager with the course's rules, and with `ARGS="--replay errors-20"` you watch the incident arrive.
# `promtool check rules` belongs into your CI, and `promtool test rules` takes series and expected alerts, like the checks here.
#
# | | how it waits | where the severity goes | what surprises |
# |---|---|---|---|
# | Prometheus + Alertmanager | `for`, `keep_firing_for` | label `severity`; a route matches it. Here: `critical` → page, all else → ticket; `inhibit_rules` mute the ticket while the page of the same signal fires | grouping waits once more: `group_wait` |
# | Grafana alerting | "pending period", evaluated per group | labels and notification policies | "no data" and "error" are states of their own that alert by default: set them to OK or Keep |
# | Datadog monitor | evaluation window (`last_5m`) over an aggregate; there is no `for` | alert and warning threshold in one monitor | "require a full window", and "notify if no data" |
# | CloudWatch alarm | M of N datapoints | an alarm per severity, an SNS topic each | missing data: missing, ignore, breaching or notBreaching; you choose |
# | SRE Workbook | burn rate over a long **and** a short window: 14.4× over 1 h and 5 min pages, 1× over 3 d opens a ticket | by window pair | needs no `for`: the long window is it. Good at slow burns; a blip of 100 % for two minutes burns at 33× over an hour, and pages |
#
# - Page only for what somebody must do *now*, and link what to do: a `runbook` in the annotations.
# - An alert that nobody acted upon three times is a candidate for deletion, not for a filter in the mail program.
# - Recording rules make many alerts cheap, and one number the same everywhere. Name them `level:metric:operations`. In a group, rules run in order; a rule below sees the result at once.
# - Who watches the watcher? An alert that always fires (`vector(1)`) and a service outside that pages when it *stops* hearing it.

# %% [markdown] id="takeaways"
# ### A runbook line
#
# > **`ErrorsCritical` fires** → which `type` leads (`sum by (type) (rate(requests_failed_total[5m]))`)? What was deployed in the last hour? Roll back first, understand later.
# >
# > **`StageSaturated` fires alone** → users are well: no hurry. Look at the queue and plan more workers. If `LatencyOverSLO` joins, it was the cause: start there.
#
# ### Takeaways
#
# - Symptoms page, causes warn. Nobody gets up for a full pool that nobody feels.
# - An expression that matches nothing looks like a healthy service. Test alerts on an incident before you trust their silence.
# - `for` ≥ window + blip. Longer is later, shorter is noise. A long window costs twice.
# - `severity` is a label like any other. Only the route makes it a page.
#
# **Next:** [17.1.5 — Deadlock](17.1.5-deadlock.ipynb): the alert fired, the process hangs, and you may not restart it.
