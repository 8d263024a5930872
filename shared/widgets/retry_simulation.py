"""A hundred clients that lose their server at one instant: what the pictures of exercise 17.2.2 show.

The same seed and the same dials at the same instants give the same attempts, whoever draws them. Every client
reconnects through the reference retry, in virtual time.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from typing import Any

from shared.resilience.contracts import BackoffConfig
from shared.resilience.retry import JITTERS, Jitter, retry_async
from shared.simulation.traffic import Agenda
from shared.widgets.live_chart import Frame

__all__ = ["BIN", "CLIENTS", "PLAY_CONFIG", "SURVIVES", "HerdSimulation", "Outage", "outage"]

CLIENTS = 100
BIN = 0.1
"""Seconds of one column."""
SURVIVES = 25
"""Connects within one column that a server stands; with one more it falls over."""
REST = 2.0
"""Seconds that a server which fell over needs to start again."""
PLAY_CONFIG = BackoffConfig(initial_delay=2.0, max_delay=10.0, max_attempts=1_000_000)
"""Clients that never give up. A column is a twentieth of their first delay."""


class HerdSimulation:
    """One server, and clients that stay connected while it is up and ask again when it is not.

    The dials are `up` (whether the server has power) and `jitter` (the number of a name in JITTERS; it applies to
    clients when they next lose their connection). `survives` None makes a server that never falls over.
    """

    def __init__(
        self,
        jitter: str = "full",
        *,
        seed: int = 1,
        config: BackoffConfig = PLAY_CONFIG,
        survives: int | None = SURVIVES,
    ) -> None:
        self.config = config
        self.jitter = jitter
        self.survives = survives
        self.up = True
        self.connected = set(range(CLIENTS))
        self.peak = 0  # retries in the fullest column since the clients were last all connected
        self.columns: list[tuple[int, int]] = []  # of each BIN: connects that were accepted, and refused
        self.falls = 0
        self._agenda = Agenda()
        self._random = [random.Random(f"client/{seed}/{number}") for number in range(CLIENTS)]
        self._power = True
        self._starts_at = 0.0  # when a server that is down for overload is up again
        self._why = ""
        self._now_accepted = self._now_refused = 0
        self._rows: dict[str, list[list[float | None]]] = {"connects": [], "clients": []}
        self._since = 0.0
        self._bars: list[list[Any]] = [["server", 0.0, None, "accepted", "up"]]
        self._news = "The server is up."

    @property
    def now(self) -> float:
        return len(self.columns) * BIN

    def set(self, control: str, value: float) -> None:
        """Turn a dial. Raises KeyError for a dial that is not there."""
        if control == "jitter":
            self.jitter = list(JITTERS)[int(value)]
        elif control == "up":
            self._power = bool(value)
            if not self._power and self.up:
                self._go_down("without power")
            elif self._power and not self.up:
                self._starts_at = max(self._starts_at, self._agenda.now)
        else:
            raise KeyError(f"no dial {control!r}: choose jitter or up")

    def step(self, dt: float) -> None:
        """Advance by `dt` simulated seconds, a whole number of columns."""
        for _ in range(round(dt / BIN)):
            if not self.up and self._power and self._agenda.now >= self._starts_at:
                self._come_up()
            self._agenda.run_until((len(self.columns) + 1) * BIN)
            self._end_column()

    def frame(self) -> Frame:
        """What happened since the last frame: see `Frame`."""
        rows, bars = self._rows, self._bars
        self._rows, self._bars = {"connects": [], "clients": []}, []
        return {
            "t": self.now,
            "words": self._words(),
            "tone": "accepted" if self.up else "failed",
            "news": self._news,
            "panes": {"server": bars, **rows},
        }

    def close(self) -> None:
        """Drop the clients that still wait."""
        self._agenda.close()

    async def _client(self, number: int) -> None:
        """From a lost connection to the next."""
        lost = True

        async def connect() -> None:
            nonlocal lost
            if lost:
                lost = False
                raise ConnectionResetError("the server is gone")
            self._connect(number)

        await retry_async(
            connect,
            self.config,
            sleep=self._agenda.sleep,
            rng=self._random[number],
            clock=self._agenda.clock,
            jitter=self._chosen_jitter(),
        )

    def _chosen_jitter(self) -> Jitter:
        return JITTERS[self.jitter]

    def _connect(self, number: int) -> None:
        if self.up and self.survives is not None and self._now_accepted == self.survives:
            self.falls += 1
            self._starts_at = self._agenda.now + REST
            self._go_down(f"fell over: more than {self.survives} came within {BIN:g} s")
        if not self.up:
            self._now_refused += 1
            raise ConnectionRefusedError("the server is down")
        self._now_accepted += 1
        self.connected.add(number)

    def _go_down(self, why: str) -> None:
        if len(self.connected) == CLIENTS:
            self.peak = 0
        self.up, self._why = False, why
        self._mark("failed", "down")
        self._news = f"The server went down at {self._agenda.now:.1f} s: {why}."
        lost, self.connected = sorted(self.connected), set()
        for number in lost:
            self._agenda.start(self._client(number))

    def _come_up(self) -> None:
        self.up = True
        self._mark("accepted", "up")
        self._news = f"The server is up again at {self._agenda.now:.1f} s."

    def _mark(self, colour: str, label: str) -> None:
        """Close the server's bar and begin the next, at the edge of a column."""
        was = ("accepted", "up") if label == "down" else ("failed", "down")
        if self._since < self.now:
            self._bars.append(["server", self._since, self.now, *was])
        self._since = self.now
        self._bars.append(["server", self.now, None, colour, label])

    def _end_column(self) -> None:
        self.columns.append((self._now_accepted, self._now_refused))
        self.peak = max(self.peak, self._now_accepted + self._now_refused)
        self._rows["connects"].append([self.now, self._now_accepted, self._now_refused])
        self._rows["clients"].append([self.now, len(self.connected)])
        self._now_accepted = self._now_refused = 0

    def _words(self) -> str:
        back = len(self.connected)
        peak = f"The fullest {1000 * BIN:.0f} ms saw {self.peak} of them."
        if not self.up:
            left = self._starts_at - self._agenda.now
            again = f" Up again in {left:.1f} s." if self._power and left > 0 else ""
            return f"DOWN, {self._why}.{again} {CLIENTS - back} clients ask again, jitter: {self.jitter}. {peak}"
        if back < CLIENTS:
            return f"UP: {back} of {CLIENTS} clients are back, jitter: {self.jitter}. {peak}"
        return f"UP: all {CLIENTS} clients are connected." + (f" {peak}" if self.peak else " Pull the plug.")


@dataclass(frozen=True)
class Outage:
    """What one outage came to: retries per BIN since all clients failed, who is back, and when. Times are seconds."""

    columns: tuple[int, ...]
    connected: tuple[int, ...]  # clients that are back, at the end of each column
    down: tuple[bool, ...]
    retries: int
    peak: int
    all_back: float | None


def outage(
    jitter: str,
    *,
    down: float = 8.0,
    seconds: float = 40.0,
    seed: int = 1,
    config: BackoffConfig = PLAY_CONFIG,
    survives: int | None = None,
) -> Outage:
    """All clients lose their server at once; it has no power for `down` seconds. Watch for `seconds`."""
    simulation = HerdSimulation(jitter, seed=seed, config=config, survives=survives)
    simulation.set("up", 0)
    connected, states = [], []
    for column in range(round(seconds / BIN)):
        if column == round(down / BIN):
            simulation.set("up", 1)
        simulation.step(BIN)
        connected.append(len(simulation.connected))
        states.append(not simulation.up)
    simulation.close()
    columns = tuple(accepted + refused for accepted, refused in simulation.columns)
    away = max((index for index, count in enumerate(connected) if count < CLIENTS), default=-1)
    return Outage(
        columns=columns,
        connected=tuple(connected),
        down=tuple(states),
        retries=sum(columns),
        peak=max(columns),
        all_back=(away + 2) * BIN if away + 1 < len(connected) else None,
    )
