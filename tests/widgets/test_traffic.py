"""Traffic in virtual time: the same seed and dials give the same calls, and time moves only as told."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from shared.simulation.traffic import Agenda, Answer, Arrivals, Backend


def arrivals(seed: int, rates: list[float]) -> list[float]:
    process = Arrivals(seed)
    return [instant for second, rate in enumerate(rates) for instant in process.between(second, second + 1, rate)]


def answers(seed: int, dial: Callable[[Backend, int], None], calls: int = 40) -> list[Answer]:
    backend, seen = Backend(latency=0.2, seed=seed), []
    for number in range(calls):
        dial(backend, number)
        seen.append(backend.answer())
    return seen


def test_a_task_wakes_at_its_own_instant() -> None:
    agenda, woken = Agenda(start=10.0), []

    async def task(name: str, *waits: float) -> None:
        for wait in waits:
            await agenda.sleep(wait)
            woken.append((name, agenda.now))

    agenda.start(task("a", 2.0, 2.0))
    agenda.start(task("b", 3.0))
    agenda.run_until(13.0)
    assert woken == [("a", 12.0), ("b", 13.0)]
    assert agenda.now == 13.0
    agenda.run_until(20.0)
    assert woken[-1] == ("a", 14.0)
    assert agenda.clock() == 20.0


def test_tasks_of_one_instant_run_in_the_order_of_their_start() -> None:
    agenda, order = Agenda(), []

    async def task(name: int) -> None:
        await agenda.sleep(1.0)
        order.append(name)

    for name in range(5):
        agenda.start(task(name))
    agenda.run_until(1.0)
    assert order == [0, 1, 2, 3, 4]


def test_a_task_cannot_start_in_the_past() -> None:
    agenda = Agenda(start=5.0)

    async def task() -> None: ...

    late = task()
    with pytest.raises(ValueError, match=r"it is 5\.000 s already"):
        agenda.start(late, at=4.0)
    late.close()


def test_closing_an_agenda_runs_the_finally_blocks_of_waiting_tasks() -> None:
    agenda, ended = Agenda(), []

    async def task() -> None:
        try:
            await agenda.sleep(1.0)
        finally:
            ended.append(agenda.now)

    agenda.start(task())
    agenda.run_until(0.5)
    agenda.close()
    assert ended == [0.5]


def test_arrivals_come_at_their_rate() -> None:
    assert 9_500 < len(arrivals(1, [10.0] * 1000)) < 10_500


def test_arrivals_are_the_same_for_a_seed_and_differ_between_seeds() -> None:
    assert arrivals(1, [5.0] * 20) == arrivals(1, [5.0] * 20)
    assert arrivals(1, [5.0] * 20) != arrivals(2, [5.0] * 20)


def test_doubling_the_rate_halves_every_gap() -> None:
    slow, fast = arrivals(3, [2.0] * 100), arrivals(3, [4.0] * 100)
    assert fast[: len(slow)] == pytest.approx([instant / 2 for instant in slow])


def test_nobody_arrives_at_rate_zero_and_the_pause_loses_nobody() -> None:
    paused = arrivals(4, [3.0] * 5 + [0.0] * 5 + [3.0] * 5)
    assert not [instant for instant in paused if 5 < instant <= 10]
    without = arrivals(4, [3.0] * 10)
    assert paused == pytest.approx([instant if instant <= 5 else instant + 5 for instant in without])


def test_turning_a_dial_changes_no_later_draw() -> None:
    def steady(backend: Backend, number: int) -> None: ...

    def storm(backend: Backend, number: int) -> None:
        backend.error_rate, backend.latency = (0.9, 3.0) if 10 <= number < 20 else (0.0, 0.2)

    calm, stormy = answers(5, steady), answers(5, storm)
    assert stormy[20:] == calm[20:]
    assert stormy[10:20] != calm[10:20]


def test_the_latency_dial_is_the_median_and_the_error_dial_the_share() -> None:
    def dials(backend: Backend, number: int) -> None:
        backend.latency, backend.error_rate = 2.0, 0.3

    seen = answers(6, dials, calls=2000)
    took = sorted(answer.took for answer in seen)
    assert took[1000] == pytest.approx(2.0, rel=0.03)
    assert took[1980] == pytest.approx(2.0 * 1.8, rel=0.1)
    assert sum(answer.failed for answer in seen) / 2000 == pytest.approx(0.3, abs=0.03)
