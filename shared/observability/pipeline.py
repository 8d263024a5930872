"""The simulated image pipeline whose metrics are recorded: load, decode, resize and store, at 50 requests a second.

Invariant: the same code makes the same recordings, byte for byte. They are written by
`python -m shared.observability.pipeline`.

The model is quasi-static: between two scrapes the load is constant and the pipeline is at rest under it, because its
queues fill in seconds. Clients wait for each answer and then think, so a slow pipeline is asked less (interactive
response-time law: D. A. Menascé et al., "Performance by Design", 2004). Waiting below saturation follows
H. Sakasegawa's approximation for M/M/c (1977). Counts are drawn per scrape: arrivals Poisson, all within them binomial.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path

import numpy as np

from shared.observability.recording import RECORDINGS, Column, pack

__all__ = ["BOUNDS", "ERRORS", "ROUTES", "STAGES", "Disturbance", "Plan", "Stage", "main", "plans", "record"]


@dataclass(frozen=True)
class Stage:
    """One stage: `workers` that need `seconds` per image. A user waits for it unless it works after the answer."""

    name: str
    workers: int
    seconds: float
    user_waits: bool = True


STAGES = (
    Stage("load", 8, 0.02),
    Stage("decode", 16, 0.04),
    Stage("resize", 20, 0.05),
    Stage("store", 12, 0.03, user_waits=False),
)
ROUTES = {"/thumbnail": (0.6, 0.090), "/full": (0.4, 0.125)}
"""Each route's share of the traffic and the median of its answers in seconds."""
BOUNDS = (0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.4, 0.5, 0.75, 0.9, 1.0, 1.5, 2.5, 5.0, 10.0, math.inf)
"""The upper bounds of the histogram's buckets, in seconds."""
ERRORS = ("db", "timeout", "decode")
RATE = 50.0
"""Requests a second in normal traffic."""

_QUEUE = 100  # places before each stage; who finds them taken is rejected
_THINK = 10.0  # seconds between an answer and the client's next request
_SPREAD = 0.40  # sigma of the lognormal answer times
_QUIET_ERRORS = (0.0002, 0.0005, 0.0003)
_CPU_PER_REQUEST = 0.05
_TARGET = {"instance": "pipeline-1:8000", "job": "image-pipeline"}
_ON_PATH = tuple(stage for stage in STAGES if stage.user_waits)


@dataclass(frozen=True)
class Disturbance:
    """What differs from normal: `traffic` times as many clients; a share `slow` of the requests (of `slow_route`, or of
    all) whose upload takes about `slow_seconds` (which holds no worker); `errors` per type as shares of the requests;
    `stage_seconds` per image in some stages."""

    traffic: float = 1.0
    slow: float = 0.0
    slow_seconds: float = 3.5
    slow_route: str | None = None
    errors: dict[str, float] = field(default_factory=dict)
    stage_seconds: dict[str, float] = field(default_factory=dict)


@dataclass
class Plan:
    """One recording to make: times in seconds, `absent` in scrapes per metric name, `disturbances` in scrapes."""

    name: str
    title: str
    interval: int
    start: int
    scrapes: int
    onset: int | None = None
    recovery: int | None = None
    disturbances: list[tuple[int, int, Disturbance]] = field(default_factory=list)
    clients: np.ndarray | None = None
    restarts: list[int] = field(default_factory=list)
    missed: list[int] = field(default_factory=list)
    absent: dict[str, tuple[tuple[int, int], ...]] = field(default_factory=dict)


def plans() -> Iterator[Plan]:
    """All recordings of the course, each on days of its own, so that one Prometheus can hold them side by side."""
    night = 1772492400  # Monday, 2 March 2026, 23:00 UTC: incidents begin at 03:00
    week = 7 * 86_400
    incidents = [
        ("slow-requests", "5 % of the requests take 3.5 s", Disturbance(slow=0.05)),
        ("errors-20", "20 % of the requests fail", Disturbance(errors={"db": 0.17, "timeout": 0.02, "decode": 0.01})),
        ("errors-2", "2 % of the requests fail", Disturbance(errors={"db": 0.003, "timeout": 0.015, "decode": 0.002})),
        ("traffic-x4", "Four times the traffic", Disturbance(traffic=4.0)),
        (
            "stage-saturated",
            "The store stage works at 100 %, and users notice nothing",
            Disturbance(stage_seconds={"store": 0.30}),
        ),
        ("slow-stage", "The resize stage is too slow for the traffic", Disturbance(stage_seconds={"resize": 20 / 44})),
        ("near-slo", "p99 comes close to the SLO and stays below", Disturbance(slow=0.03, slow_seconds=0.95)),
        ("traffic-32", "Traffic falls to 32 requests a second", Disturbance(traffic=0.64)),
        ("traffic-12", "Traffic falls to 12 requests a second", Disturbance(traffic=0.24)),
    ]
    for index, (name, title, disturbance) in enumerate(incidents):
        yield _incident(name, title, night + index * week, disturbance)
    start = night + len(incidents) * week
    yield Plan("healthy", "A quiet night", 30, start, 750)
    start += week
    yield Plan(
        "zero-traffic",
        "All clients go away and stay away",
        30,
        start,
        750,
        disturbances=[(300, 750, Disturbance(traffic=0.0))],
    )
    start += week
    yield Plan(
        "missing-series",
        "First nothing can be scraped, then single metrics are missing",
        30,
        start,
        750,
        restarts=[240],
        missed=list(range(180, 240)),
        absent={
            "requests_failed_total": ((240, 420),),
            "worker_pool_workers_max": ((240, 420),),
            "request_duration_seconds_bucket": ((420, 600),),
            "requests_total": ((420, 600),),
            "worker_pool_workers_active": ((420, 600),),
            "worker_pool_queue_size": ((600, 750),),
            "worker_pool_rejected_total": ((600, 750),),
        },
    )
    start += week
    yield _quiet_month(start)
    start += 6 * week
    busy = "With 2.6 times the traffic,"
    few = Disturbance(traffic=2.6, slow=0.008)
    below = Disturbance(2.6, 0.03, 0.95, errors={"db": 0.03, "timeout": 0.007, "decode": 0.003})
    above = Disturbance(3.6, 0.03, 1.3, errors={"db": 0.06, "timeout": 0.014, "decode": 0.006})
    yield _incident("few-slow", f"{busy} 0.8 % of the requests take 3.5 s", start, few)
    yield _incident("below-thresholds", f"{busy} 4 % of the requests fail, and p99 is 0.97 s", start + week, below)
    yield _incident(
        "above-thresholds", "With 3.6 times the traffic, 8 % fail, and p99 is 1.3 s", start + 2 * week, above
    )
    one = Disturbance(slow=0.015, slow_route="/full")
    yield _incident("slow-route", "1.5 % of the requests of one route take 3.5 s", start + 3 * week, one)


def _incident(name: str, title: str, start: int, disturbance: Disturbance) -> Plan:
    """45 minutes after four quiet hours, and an hour and a half after it."""
    begin, end = 480, 480 + 90
    return Plan(
        name, title, 30, start, end + 180 + 1, start + 30 * begin, start + 30 * end, [(begin + 1, end + 1, disturbance)]
    )


def _quiet_month(start: int) -> Plan:
    """30 days by the minute: days and weeks, blips of at most two minutes, restarts and lost scrapes."""
    scrapes, random = 30 * 1440, np.random.RandomState(30)
    start -= start % 86_400
    hours = np.arange(scrapes) / 60
    weekend = (start // 86_400 + 3 + hours // 24) % 7 >= 5
    clients = (1 - 0.36 * np.cos(2 * np.pi * (hours - 4) / 24)) * np.where(weekend, 0.88, 1.0)
    kinds = [
        Disturbance(errors={"db": 1.0}),
        Disturbance(errors={"timeout": 0.4, "decode": 0.1}),
        Disturbance(errors={"timeout": 0.08}),
        Disturbance(slow=1.0, slow_seconds=12.0),
        Disturbance(slow=0.3),
        Disturbance(slow=0.06, slow_seconds=2.0),
        Disturbance(traffic=3.5),
        Disturbance(traffic=10.0),
        Disturbance(stage_seconds={"resize": 1.0}),
        Disturbance(stage_seconds={"store": 1.0}),
    ]
    # One event in each slot of five hours, an hour or more from the next slot's: never two within one window of a rule.
    events = [slot * 300 + int(random.randint(30, 270)) for slot in range(scrapes // 300)]
    order = random.permutation(len(events))
    restarts = sorted(events[at] for at in order[:6])
    blips = sorted(events[at] for at in order[6:])
    gap = restarts[2]
    lost = {int(at) for at in random.randint(1, scrapes, 60)}
    lost |= {at - back for at in restarts for back in (1, 2)} | set(range(gap - 12, gap))
    return Plan(
        "quiet-month",
        "30 quiet days with blips of at most two minutes",
        60,
        start,
        scrapes,
        disturbances=[
            (at, at + 1 + int(random.randint(2)), kinds[count % len(kinds)]) for count, at in enumerate(blips)
        ],
        clients=clients,
        restarts=restarts,
        missed=sorted(lost),
    )


def record(plan: Plan) -> bytes:
    """The file of one recording."""
    random = np.random.RandomState(sum(plan.name.encode()))  # its streams never change between numpy's releases
    states = [Disturbance(), *(disturbance for _, _, disturbance in plan.disturbances)]
    state = np.zeros(plan.scrapes, dtype=int)
    for number, (first, end, _) in enumerate(plan.disturbances, 1):
        state[first:end] = number
    load = _settle(_clients(random, plan, states, state), states, state)
    table = _Table(plan)
    requests = _publish_requests(table, random, load, states, state)
    busy = _publish_stages(table, random, load, requests.refused)
    _publish_process(table, random, requests.arrived, busy)
    missed = np.zeros(plan.scrapes, dtype=bool)
    missed[plan.missed] = True
    columns = np.array(table.columns).astype(np.int64)
    return pack(
        plan.name, plan.title, plan.interval, plan.start, plan.onset, plan.recovery,
        table.series, columns, plan.restarts, missed,
    )  # fmt: skip


@dataclass(frozen=True)
class _Load:
    """The pipeline at rest, per scrape: rates in requests a second, `seconds` per image and stage, `waiting` requests
    before the stage on the user's path that is `narrow`, where `saturated`, and their `wait` in seconds."""

    served: np.ndarray
    rejected: np.ndarray
    waiting: np.ndarray
    wait: np.ndarray
    saturated: np.ndarray
    narrow: np.ndarray
    seconds: dict[str, np.ndarray]


def _clients(random: np.random.RandomState, plan: Plan, states: list[Disturbance], state: np.ndarray) -> np.ndarray:
    """How many clients there are, per scrape."""
    usual = RATE * (_THINK + _answer_seconds(Disturbance())) * _wander(random, plan.scrapes, plan.interval)
    return usual * np.array([one.traffic for one in states])[state] * (1.0 if plan.clients is None else plan.clients)


def _settle(clients: np.ndarray, states: list[Disturbance], state: np.ndarray) -> _Load:
    """Where the pipeline comes to rest. The stage with the least capacity on the user's path bounds what is served; who
    must wait is in its queue, and who finds that full is rejected and thinks again."""
    seconds = {
        stage.name: np.array([one.stage_seconds.get(stage.name, stage.seconds) for one in states])[state]
        for stage in STAGES
    }
    capacity = np.array([stage.workers / seconds[stage.name] for stage in _ON_PATH])
    most = capacity.min(axis=0)
    cycle = _THINK + np.array([_answer_seconds(one) for one in states])[state]
    asked = clients / cycle
    saturated = asked > 0.97 * most
    served = np.where(saturated, np.minimum(asked, most), asked)
    waiting = np.where(saturated, clients - served * cycle, 0.0)
    rejected = np.maximum(waiting - _QUEUE, 0.0) / _THINK
    waiting = np.clip(waiting, 0.0, _QUEUE)
    return _Load(
        served, rejected, waiting, waiting / np.maximum(served, 1e-9), saturated, capacity.argmin(axis=0), seconds
    )


class _Table:
    """The columns and series of the recording being made."""

    def __init__(self, plan: Plan) -> None:
        self.columns: list[np.ndarray] = []
        self.series: list[Column] = []
        self.interval, self.scrapes, self._absent = plan.interval, plan.scrapes, plan.absent

    def add(self, values: np.ndarray) -> int:
        """A column's number."""
        self.columns.append(values)
        return len(self.columns) - 1

    def counter(self, name: str, columns: list[int], unit: float = 1.0, **labels: str) -> None:
        self._publish(name, columns, True, unit, labels)

    def gauge(self, name: str, values: np.ndarray, unit: float = 1.0, **labels: str) -> None:
        self._publish(name, [self.add(values)], False, unit, labels)

    def _publish(self, name: str, columns: list[int], counter: bool, unit: float, labels: dict[str, str]) -> None:
        everything = {"__name__": name, **_TARGET, **labels}
        self.series.append(Column(everything, tuple(columns), counter, unit, self._absent.get(name, ())))


@dataclass(frozen=True)
class _Requests:
    """What came between two scrapes: all requests, and those that the pipeline refused."""

    arrived: np.ndarray
    refused: np.ndarray


def _publish_requests(
    table: _Table, random: np.random.RandomState, load: _Load, states: list[Disturbance], state: np.ndarray
) -> _Requests:
    """The users' view. A refused request is answered at once, counts as a request and fails as a timeout."""
    shares = [
        [one.errors.get(kind, quiet) for one in states] for kind, quiet in zip(ERRORS, _QUIET_ERRORS, strict=True)
    ]
    chances = [np.array(row)[state] for row in shares]
    arrived = np.zeros(table.scrapes, dtype=np.int64)
    turned_away = arrived.copy()
    failures: dict[str, np.ndarray] = {}
    for route, (share, median) in ROUTES.items():
        answered = random.poisson(load.served * share * table.interval)
        refused = random.poisson(load.rejected * share * table.interval)
        here = [one if one.slow_route in (None, route) else replace(one, slow=0.0) for one in states]
        buckets, middles = _histogram(random, answered, median, load.wait, state, here)
        buckets[0] += refused
        failures[route] = _divide(random, answered, chances)[:-1]
        failures[route][ERRORS.index("timeout")] += refused
        arrived += answered + refused
        turned_away += refused
        columns = [table.add(row) for row in buckets]
        for place, bound in enumerate(BOUNDS):
            le = "+Inf" if bound == math.inf else str(bound)
            table.counter("request_duration_seconds_bucket", columns[: place + 1], route=route, le=le)
        table.counter("request_duration_seconds_count", columns, route=route)
        total = table.add(np.round((buckets * middles).sum(axis=0) * 10))
        table.counter("request_duration_seconds_sum", [total], 0.1, route=route)
        table.counter("requests_total", columns, route=route)
    for route, failed in failures.items():
        for kind, row in zip(ERRORS, failed, strict=True):
            table.counter("requests_failed_total", [table.add(row)], route=route, type=kind)
    return _Requests(arrived, turned_away)


def _publish_stages(table: _Table, random: np.random.RandomState, load: _Load, refused: np.ndarray) -> np.ndarray:
    """The pools of the stages; returns how many tasks they hold. Tasks wait only where all workers are active."""
    busy = np.zeros(table.scrapes, dtype=np.int64)
    for stage in STAGES:
        used = load.served * load.seconds[stage.name] / stage.workers
        if stage.user_waits:
            at_limit = load.saturated & (load.narrow == _ON_PATH.index(stage))
            backlog, rejected = load.waiting, np.where(at_limit, refused, 0)
        else:
            # Behind the answer: producers slow down before the backlog passes its places, so nobody is refused.
            at_limit = used > 0.95
            backlog = np.minimum(_queue_length(np.minimum(used, 0.985), stage.workers), _QUEUE)
            rejected = np.zeros_like(refused)
        active = np.minimum(random.poisson(used * stage.workers), stage.workers)
        active = np.where(at_limit, stage.workers, active)
        chance = random.poisson(_queue_length(np.minimum(used, 0.9), stage.workers))
        lasting = np.clip(np.round(backlog * (1 + 0.12 * random.standard_normal(table.scrapes))), 1, _QUEUE)
        queue = np.where(at_limit, lasting, np.where(active == stage.workers, chance, 0)).astype(np.int64)
        busy += active + queue
        table.gauge("worker_pool_queue_size", queue, stage=stage.name)
        table.gauge("worker_pool_workers_active", active, stage=stage.name)
        table.gauge("worker_pool_workers_max", np.full(table.scrapes, stage.workers), stage=stage.name)
        table.counter("worker_pool_rejected_total", [table.add(rejected)], stage=stage.name)
    return busy


def _publish_process(table: _Table, random: np.random.RandomState, requests: np.ndarray, busy: np.ndarray) -> None:
    """Processor time by the requests, memory by the images held."""
    work = (requests * _CPU_PER_REQUEST + 0.02 * table.interval) * (1 + 0.02 * random.standard_normal(table.scrapes))
    table.counter("process_cpu_seconds_total", [table.add(np.round(100 * work))], 0.01)
    resting = 420 + 25 * (_wander(random, table.scrapes, table.interval) - 1) / 0.02
    table.gauge("process_resident_memory_bytes", np.round(resting / 2 + busy * 1.5), 2.0**21)


def _answer_seconds(state: Disturbance) -> float:
    """The mean time of an answer that waits in no queue, in seconds."""
    usual = sum(share * median for share, median in ROUTES.values()) * math.exp(_SPREAD**2 / 2)
    extra = sum(max(0.0, state.stage_seconds.get(stage.name, 0.0) - stage.seconds) for stage in _ON_PATH)
    slow = state.slow * (1.0 if state.slow_route is None else ROUTES[state.slow_route][0])
    return (usual + extra) * (1 - slow) + state.slow_seconds * slow


def _queue_length(load: np.ndarray, workers: int) -> np.ndarray:
    """The mean number of waiting tasks at a load below 1 (Sakasegawa)."""
    return load ** math.sqrt(2 * (workers + 1)) / (1 - load)


def _wander(random: np.random.RandomState, steps: int, interval: int) -> np.ndarray:
    """A factor around 1 with a standard deviation of 2 % that forgets within half an hour."""
    keep = math.exp(-interval / 1800)
    pushes = random.standard_normal(steps) * 0.02 * math.sqrt(1 - keep**2)
    level, out = 0.0, np.empty(steps)
    for step, push in enumerate(pushes.tolist()):
        level = level * keep + push
        out[step] = 1 + level
    return out


def _divide(random: np.random.RandomState, total: np.ndarray, shares: list[np.ndarray]) -> np.ndarray:
    """Multinomial counts of `total` over `shares`, with the rest in the last row."""
    rows, left, share_left = [], total.copy(), np.ones(len(total))
    for share in shares:
        part = random.binomial(left, np.clip(share / np.maximum(share_left, 1e-12), 0.0, 1.0))
        rows.append(part)
        left, share_left = left - part, share_left - share
    return np.array([*rows, left])


def _histogram(
    random: np.random.RandomState,
    answered: np.ndarray,
    median: float,
    wait: np.ndarray,
    state: np.ndarray,
    states: list[Disturbance],
) -> tuple[np.ndarray, np.ndarray]:
    """Answers per bucket (not cumulative) and step, and a time within each bucket, in seconds, that stands for it."""
    lows = np.array([0.0, *BOUNDS[:-1]])
    highs = np.array([*BOUNDS[:-1], 20.0])
    middles = np.sqrt(np.maximum(lows, 0.6 * highs[0]) * highs)[:, None]
    rounded = np.round(wait, 1)
    chances: dict[tuple[int, float], list[float]] = {}
    for key in dict.fromkeys(zip(state.tolist(), rounded.tolist(), strict=True)):
        chances[key] = _bucket_chances(states[key[0]], median, key[1])
    rows = np.array([chances[key] for key in zip(state.tolist(), rounded.tolist(), strict=True)]).T
    return _divide(random, answered, list(rows[:-1])), middles


def _bucket_chances(state: Disturbance, median: float, wait: float) -> list[float]:
    """The chance that an answer falls into each bucket: lognormal around the route's median, later by what the
    stages and their queues add, mixed with the slow requests."""
    extra = _answer_seconds(Disturbance(stage_seconds=state.stage_seconds)) - _answer_seconds(Disturbance())
    centre = median + extra + wait
    spread = _SPREAD if extra + wait < 0.05 else 0.25

    def below(bound: float) -> float:
        if bound == math.inf:
            return 1.0
        usual = _normal(math.log(bound / centre) / spread)
        slow = _normal(math.log(bound / state.slow_seconds) / 0.02) if state.slow else 0.0
        return (1 - state.slow) * usual + state.slow * slow

    marks = [0.0, *(below(bound) for bound in BOUNDS)]
    return [after - before for before, after in pairwise(marks)]


def _normal(z: float) -> float:
    return 0.5 * math.erfc(-z / math.sqrt(2))


def main(arguments: list[str] | None = None) -> int:
    """Write the recordings, all or those named, to the folder of the package or to `--to`."""
    parser = argparse.ArgumentParser(prog="python -m shared.observability.pipeline", description=main.__doc__)
    parser.add_argument("names", nargs="*", help="which recordings (default: all)")
    parser.add_argument("--to", type=Path, default=RECORDINGS, help="the folder to write into")
    chosen = parser.parse_args(arguments)
    known = {plan.name: plan for plan in plans()}
    if unknown := [name for name in chosen.names if name not in known]:
        parser.error(f"there is no recording {unknown[0]!r}; there are {', '.join(known)}")
    chosen.to.mkdir(parents=True, exist_ok=True)
    for name in chosen.names or known:
        data = record(known[name])
        (chosen.to / f"{name}.npz").write_bytes(data)
        print(f"{len(data):>9,} bytes  {name}: {known[name].title}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
