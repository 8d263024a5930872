"""The reference deadlines: one total for a request, named limits, nothing left running."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shared.resilience.contracts import InvalidHierarchy
from shared.resilience.deadlines import Deadline, DeadlineExceeded, call_with_deadline, validate_hierarchy
from shared.simulation import VirtualTime, explore_async


def virtually(program: Callable[[], Awaitable[Any]]) -> Any:
    return VirtualTime().run(lambda: asyncio.run(program()))


async def slow(deadline: Deadline) -> str:
    await asyncio.sleep(8)
    return "slow"


def test_a_deadline_is_an_instant_and_counts_down() -> None:
    now = 100.0
    deadline = Deadline.after(2.0, clock=lambda: now, name="request")
    now = 101.5
    assert deadline.remaining() == 0.5
    now = 103.0
    assert deadline.remaining() == -1.0
    with pytest.raises(DeadlineExceeded, match="request"):
        deadline.raise_if_expired()


def test_a_deadline_is_a_number() -> None:
    with pytest.raises(ValueError, match="NaN"):
        Deadline.after(float("nan"))


@given(st.lists(st.floats(0.01, 100), min_size=1, max_size=6))
@settings(max_examples=60, deadline=None)
def test_a_chain_of_children_has_the_least_limit_and_its_name(seconds: list[float]) -> None:
    deadline = Deadline.after(seconds[0], clock=lambda: 0.0, name="0")
    for level, timeout in enumerate(seconds[1:], 1):
        deadline = deadline.within(timeout, str(level))
    assert deadline.remaining() == min(seconds)
    assert deadline.name == str(seconds.index(min(seconds)))


def test_expiry_cancels_the_function_waits_for_it_and_names_the_level() -> None:
    seen: list[str] = []
    exceeded: list[DeadlineExceeded] = []

    async def untidy(deadline: Deadline) -> None:
        try:
            await asyncio.sleep(8)
        finally:
            await asyncio.sleep(0.5)
            seen.append("cleaned up")

    async def program() -> float:
        with pytest.raises(DeadlineExceeded, match="'untidy'"):
            await call_with_deadline(untidy, 1.0, on_expired=exceeded.append)
        return asyncio.get_running_loop().time()

    assert virtually(program) == pytest.approx(1.5)
    assert seen == ["cleaned up"]
    assert [each.level for each in exceeded] == ["untidy"]


def test_the_limit_of_a_grandparent_keeps_its_name() -> None:
    async def middle(deadline: Deadline) -> str:
        return await call_with_deadline(slow, 3.0, deadline)

    async def program() -> None:
        with pytest.raises(DeadlineExceeded, match="'request'"):
            await call_with_deadline(middle, 5.0, Deadline.after(1.0, name="request"))

    virtually(program)


def test_nothing_is_started_without_time_left() -> None:
    called: list[Deadline] = []

    async def fn(deadline: Deadline) -> None:
        called.append(deadline)

    async def program() -> None:
        parent = Deadline.after(1.0, name="request")
        await asyncio.sleep(1.5)
        with pytest.raises(DeadlineExceeded, match="'request'"):
            await call_with_deadline(fn, 1.0, parent)

    virtually(program)
    assert called == []


def test_the_functions_own_timeout_error_passes_unchanged() -> None:
    own = TimeoutError("the database's")

    async def fn(deadline: Deadline) -> None:
        raise own

    async def program() -> None:
        with pytest.raises(TimeoutError) as caught:
            await call_with_deadline(fn, 1.0)
        assert caught.value is own

    virtually(program)


def test_a_cancellation_in_the_turn_in_which_the_result_comes_is_not_swallowed() -> None:
    """What asyncio.wait_for of Python 3.11 gets wrong."""

    async def program() -> None:
        ready = asyncio.Event()
        ended: list[str] = []

        async def fn(deadline: Deadline) -> str:
            await ready.wait()
            return "done"

        async def caller() -> None:
            try:
                await call_with_deadline(fn, 1.0)
            except asyncio.CancelledError:
                ended.append("cancelled")
                raise

        task = asyncio.ensure_future(caller())
        await asyncio.sleep(0)
        ready.set()
        assert task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert ended == ["cancelled"]

    virtually(program)


def test_what_the_hook_raises_goes_no_further(caplog: pytest.LogCaptureFixture) -> None:
    async def program() -> None:
        with pytest.raises(DeadlineExceeded):
            await call_with_deadline(slow, 1.0, on_expired=lambda error: 1 / 0)

    virtually(program)
    assert "on_expired failed" in caplog.text


def test_no_order_of_tasks_leaves_work_behind() -> None:
    def program() -> Any:
        async def main() -> None:
            running = 0

            async def leaf(deadline: Deadline) -> None:
                nonlocal running
                running += 1
                try:
                    await asyncio.sleep(8)
                finally:
                    await asyncio.sleep(0)
                    running -= 1

            async def fork(deadline: Deadline) -> None:
                async with asyncio.TaskGroup() as group:
                    for _ in range(2):
                        group.create_task(call_with_deadline(leaf, 5.0, deadline))

            task = asyncio.ensure_future(call_with_deadline(fork, 1.0, name="fork"))
            await asyncio.sleep(0.5)
            task.cancel()
            await asyncio.wait({task})
            assert task.cancelled()
            assert running == 0

        return main()

    report = explore_async(program, 40)
    assert report.ok, str(report)


TREE = {"name": "request", "timeout": 2, "children": [{"name": "service", "timeout": 1.5, "children": []}]}


def test_a_tree_in_which_every_child_is_shorter_is_valid() -> None:
    validate_hierarchy(TREE)


@pytest.mark.parametrize("timeout", [1.5, 1.75, float("nan")])
def test_a_child_that_is_not_shorter_than_its_parent_is_named_by_its_path(timeout: float) -> None:
    service = {"name": "service", "timeout": 1.5, "children": [{"name": "db", "timeout": timeout}]}
    with pytest.raises(InvalidHierarchy) as caught:
        validate_hierarchy({"name": "request", "timeout": 2, "children": [service]})
    assert caught.value.path == "request/service/db"


def test_a_tree_may_be_deeper_than_the_stack_of_calls() -> None:
    tree: dict[str, Any] = {"name": "leaf", "timeout": 0.5}
    for depth in range(2000):
        tree = {"name": "node", "timeout": depth + 1, "children": [tree]}
    validate_hierarchy(tree)
