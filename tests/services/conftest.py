"""One real Prometheus, one real Alertmanager and one webhook for all tests here: started once, stopped always.

A test takes the fixture `backends` and is marked `@pytest.mark.needs("prometheus", "promtool", "alertmanager")`.
Prometheus scrapes and evaluates every 200 ms, scrapes what `expose` shows, and holds the recordings in `HELD` at their
own times.
"""

from __future__ import annotations

import contextlib
import json
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path
from threading import Event, Thread
from typing import Any, TypeVar

import pytest

from shared.observability.recording import load
from tools.services import Pages, alertmanager, prometheus, replay

HELD = (
    "errors-20", "healthy", "missing-series", "slow-requests", "slow-stage", "stage-saturated", "traffic-x4",
)  # fmt: skip
"""The recordings in Prometheus' data, a week apart from each other; the others lie in no running server."""

T = TypeVar("T")


class Backends:
    """The running servers: `prometheus_url`, `alertmanager_url`, and `pages`, the webhook that gets every alert."""

    def __init__(self, prometheus_url: str, alertmanager_url: str, pages: Pages, folder: Path, target: _Target) -> None:
        self.prometheus_url, self.alertmanager_url, self.pages = prometheus_url, alertmanager_url, pages
        self._rules, self._target, self._numbers = folder, target, count()

    def query(self, expr: str, at: float | None = None) -> list[dict[str, Any]]:
        """An instant query at unix seconds `at` (default: now): dicts with `metric`, `value` [t, text]."""
        return self._ask("query", {"query": expr, **({} if at is None else {"time": repr(at)})})

    def query_range(self, expr: str, start: float, end: float, step: float) -> list[dict[str, Any]]:
        """The result of a range query: dicts with `metric` and `values` [[t, text], …]."""
        return self._ask("query_range", {"query": expr, "start": repr(start), "end": repr(end), "step": repr(step)})

    @contextlib.contextmanager
    def expose(self, page: Callable[[], bytes]) -> Iterator[None]:
        """Have Prometheus scrape what `page()` returns, text exposition, while the block runs."""
        self._target.pages.append(page)
        try:
            yield
        finally:
            self._target.pages.remove(page)

    @contextlib.contextmanager
    def rules(self, text: str) -> Iterator[None]:
        """Have Prometheus evaluate this rule file while the block runs."""
        file = self._rules / f"{next(self._numbers)}.yml"
        file.write_text(text)
        try:
            self._reload()
            yield
        finally:
            file.unlink()
            self._reload()

    def eventually(self, ask: Callable[[], T], seconds: float = 20.0) -> T:
        """What `ask()` returns as soon as it is true, asked every 50 ms. Fails after `seconds`."""
        deadline, pause = time.monotonic() + seconds, Event()
        while not (answer := ask()):
            if time.monotonic() > deadline:
                pytest.fail(f"Still {answer!r} after {seconds:g} s.")
            pause.wait(0.05)
        return answer

    def _ask(self, endpoint: str, parameters: dict[str, str]) -> list[dict[str, Any]]:
        url = f"{self.prometheus_url}/api/v1/{endpoint}"
        try:
            with urllib.request.urlopen(url, urllib.parse.urlencode(parameters).encode(), timeout=20) as answer:
                data = json.load(answer)["data"]
        except urllib.error.HTTPError as error:
            raise ValueError(json.load(error)["error"]) from None
        return [{"metric": {}, "value": data["result"]}] if data["resultType"] == "scalar" else data["result"]

    def _reload(self) -> None:
        request = urllib.request.Request(f"{self.prometheus_url}/-/reload", method="POST")
        with urllib.request.urlopen(request, timeout=20):
            pass


class _Target:
    """The one target that Prometheus scrapes: all exposed pages, one after the other."""

    def __init__(self) -> None:
        self.pages: list[Callable[[], bytes]] = []

    @contextlib.contextmanager
    def serving(self) -> Iterator[str]:
        pages = self.pages

        class Metrics(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = b"".join(page() for page in list(pages))
                self.send_response(200)
                self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *arguments: Any) -> None:
                """Say nothing."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Metrics)
        server.daemon_threads = True
        thread = Thread(target=server.serve_forever, args=(0.05,), name="scrape-target", daemon=True)
        thread.start()
        try:
            yield f"127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            server.server_close()
            thread.join()


@pytest.fixture(scope="session")
def backends(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backends]:
    folder, target = tmp_path_factory.mktemp("services"), _Target()
    rules = folder / "rules"
    rules.mkdir()
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda name: replay(load(name), folder / "prometheus"), HELD))
    with contextlib.ExitStack() as stack:
        pages = stack.enter_context(Pages())
        address = stack.enter_context(target.serving())
        manager = stack.enter_context(alertmanager(_fast_alertmanager(pages.url), folder / "alertmanager"))
        config = {
            "global": {"scrape_interval": "200ms", "scrape_timeout": "200ms", "evaluation_interval": "200ms"},
            "rule_files": [f"{rules}/*.yml"],
            "scrape_configs": [{"job_name": "test", "static_configs": [{"targets": [address]}]}],
            "alerting": {"alertmanagers": [{"static_configs": [{"targets": [manager.removeprefix("http://")]}]}]},
        }
        server = stack.enter_context(prometheus(config, folder / "prometheus"))
        yield Backends(server, manager, pages, rules, target)


def _fast_alertmanager(webhook: str) -> dict[str, Any]:
    return {
        "route": {
            "receiver": "webhook", "group_by": ["..."], "group_wait": "100ms", "group_interval": "200ms",
            "repeat_interval": "1h",
        },
        "receivers": [{"name": "webhook", "webhook_configs": [{"url": webhook, "send_resolved": True}]}],
    }  # fmt: skip
