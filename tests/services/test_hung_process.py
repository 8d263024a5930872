"""A process that really hangs is diagnosed from outside, without a restart: by signals, and by py-spy where it may."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator

import psutil
import pytest

from shared.observability.deadlock import find_deadlock
from shared.observability.hung_process import HungProcess, PySpyRefused
from shared.observability.recorded_dumps import FAULTHANDLER, LOCKS, PY_SPY

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there are no such signals on Windows")

CYCLE = ["Thread-1 (serve)", "Thread-2 (import_prices)"]


@pytest.fixture(scope="module")
def shop() -> Iterator[HungProcess]:
    with HungProcess() as shop:
        yield shop
    assert not psutil.pid_exists(shop.pid) or psutil.Process(shop.pid).status() == psutil.STATUS_ZOMBIE


def functions(dump: str) -> set[str]:
    """The functions of the shop in a dump of any layout, without what differs between machines and Pythons."""
    return {
        name for name in ("serve", "import_prices", "get", "set", "query", "update") if re.search(rf"\b{name}\b", dump)
    }


def test_the_handler_names_the_locks_and_the_cycle_is_found(shop: HungProcess) -> None:
    dump = shop.lock_dump()
    assert find_deadlock(dump) in (CYCLE, CYCLE[::-1])
    assert functions(dump) == functions(LOCKS)
    assert dump.count("- waiting to lock") == LOCKS.count("- waiting to lock") == 3
    assert dump.count("- locked") == LOCKS.count("- locked") == 2


def test_it_can_be_asked_again_and_still_hangs_in_the_same_place(shop: HungProcess) -> None:
    assert shop.lock_dump() == shop.lock_dump()


def test_faulthandler_shows_every_frame_and_no_lock(shop: HungProcess) -> None:
    dump = shop.stack_dump()
    assert functions(dump) == functions(FAULTHANDLER)
    assert "locked <" not in dump + FAULTHANDLER
    assert find_deadlock(dump) == []


def test_py_spy_shows_names_and_states_and_no_lock(shop: HungProcess) -> None:
    try:
        dump = shop.py_spy_dump()
    except PySpyRefused as refused:
        pytest.skip(str(refused))
    assert functions(dump) == functions(PY_SPY)
    for text in (dump, PY_SPY):
        assert '(idle): "Thread-1 (serve)"' in text
        assert "locked <" not in text
        assert find_deadlock(text) == []


def test_the_process_ends_when_nobody_holds_its_input_any_more() -> None:
    with HungProcess() as shop:
        assert shop._process.stdin is not None
        shop._process.stdin.close()
        assert shop._process.wait(timeout=30) == 0
        shop._process.stdin = None
    shop.close()


def test_a_refusal_of_py_spy_is_one_sentence(shop: HungProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.observability.hung_process.shutil.which", lambda *_, **__: None)
    with pytest.raises(PySpyRefused, match="pip install py-spy"):
        shop.py_spy_dump()
    assert os.getpgid(shop.pid)
