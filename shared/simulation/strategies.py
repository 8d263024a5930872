"""Ways to choose who runs next; each strategy is a deterministic function of its seed and of the program.

Invariant: a strategy sees names only and returns one of the candidates, so that every choice can be recorded and
replayed. Random walk, PCT (Burckhardt et al., "A Randomized Scheduler with Probabilistic Guarantees of Finding Bugs",
ASPLOS 2010) and bounded preemption (Musuvathi and Qadeer, PLDI 2007) find different bugs: `strategies` mixes them.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence

ANY, SHARED, LOCKS, NESTED = range(4)
"""How much a switch point matters: any; one where something is touched that threads change; a lock is acquired or a
thread begins; a lock is acquired by a thread that holds one."""


class Strategy:
    """The default order: the running thread goes on; when it waits, whoever has been ready longest is next.

    `choices` counts how often there was something to choose. It is asked at switch points that matter at
    least as much as its `attention`, and wherever a thread waits.
    """

    attention = SHARED

    def __init__(self) -> None:
        self.choices = 0

    def choose(self, candidates: Sequence[str], current: str | None) -> str:
        """One of `candidates` (in default order, at least one). `current` could go on; None when it waits."""
        self.choices += 1
        return candidates[0]

    def gave_way(self, name: str) -> None:
        """`name` lets others run first: it polls, and favouring it would starve the others."""


class RandomWalk(Strategy):
    """Leaves the default order with a fixed probability at every choice."""

    def __init__(self, rng: random.Random, probability: float, attention: int = SHARED) -> None:
        super().__init__()
        self.attention = attention
        self._rng = rng
        self._probability = probability

    def choose(self, candidates: Sequence[str], current: str | None) -> str:
        self.choices += 1
        if self._rng.random() >= self._probability:
            return candidates[0]
        return candidates[self._rng.randrange(1, len(candidates))]


class PriorityChange(Strategy):
    """PCT: random priorities, the highest runs; at `depth` − 1 random choices whoever would run drops to the end."""

    def __init__(self, rng: random.Random, depth: int, horizon: int) -> None:
        super().__init__()
        self._rng = rng
        self._priority: dict[str, float] = {}
        self._changes = {rng.randint(1, horizon) for _ in range(depth - 1)}
        self._lowest = 0.0

    def choose(self, candidates: Sequence[str], current: str | None) -> str:
        self.choices += 1
        for name in candidates:
            if name not in self._priority:
                self._priority[name] = self._rng.random()
        if self.choices in self._changes:
            self.gave_way(max(candidates, key=self._priority.__getitem__))
        return max(candidates, key=self._priority.__getitem__)

    def gave_way(self, name: str) -> None:
        self._lowest -= 1.0
        self._priority[name] = self._lowest


class BoundedPreemption(Strategy):
    """Stops the running thread at a few chosen choices; who follows a waiting thread is free, with some probability."""

    def __init__(self, rng: random.Random, stops: set[int], freedom: float) -> None:
        super().__init__()
        self._rng = rng
        self._stops = stops
        self._freedom = freedom

    def choose(self, candidates: Sequence[str], current: str | None) -> str:
        self.choices += 1
        if self.choices in self._stops:
            others = [name for name in candidates if name != current]
            return others[self._rng.randrange(len(others))]
        if current is None and self._rng.random() < self._freedom:
            return candidates[self._rng.randrange(len(candidates))]
        return candidates[0]


def strategies(seed: int, count: int) -> Iterator[Strategy]:
    """`count` strategies: the default order first, then a mix. Each must have been run before the next one is drawn:
    how many choices the runs met decides where the next ones place their preemptions.
    """
    rng = random.Random(seed)
    default = Strategy()
    yield default
    usual = longest = max(1, default.choices)
    first_stops: list[int] = []
    preemptions = 0
    for index in range(1, count):
        if not first_stops:  # each choice of the default order comes once with one preemption, then with two, ...
            first_stops = rng.sample(range(1, usual + 1), usual)
            preemptions = min(preemptions + 1, 3)
        strategy: Strategy
        match index % 8:
            case 1 | 5:
                more = (rng.randint(1, longest) for _ in range(preemptions - 1))
                strategy = BoundedPreemption(rng, {first_stops.pop(), *more}, freedom=rng.choice((0.0, 0.5)))
            case 2:
                strategy = RandomWalk(rng, rng.choice((0.5, 0.9)), NESTED)
            case 3:
                strategy = RandomWalk(rng, rng.choice((0.1, 0.2, 0.4)), SHARED)
            case 6:
                strategy = RandomWalk(rng, rng.choice((0.2, 0.5)), LOCKS)
            case 7:
                strategy = RandomWalk(rng, rng.choice((0.05, 0.1, 0.2)), ANY)
            case _:
                strategy = PriorityChange(rng, rng.choice((2, 3, 4)), rng.randint(usual, longest))
        yield strategy
        longest = max(longest, min(strategy.choices, 4 * usual))


def few_preemptions(choices: int) -> Iterator[Strategy]:
    """One preemption at each of the first `choices` choices, then two at random: to simplify what was found."""
    rng = random.Random(choices)
    for stop in range(1, choices + 1):
        yield BoundedPreemption(rng, {stop}, freedom=0.0)
    for _ in range(choices):
        yield BoundedPreemption(rng, {rng.randint(1, choices), rng.randint(1, choices)}, freedom=0.2)
