"""`make services`: real Prometheus and Alertmanager with the course's configuration, on free ports of 127.0.0.1.

Invariant: whatever is started here is stopped when its `with` block ends, on Ctrl-C and SIGTERM too. Grafana, Jaeger
and Loki come as containers only: `deploy/compose.yml` starts them.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NoReturn

import yaml

from shared.observability.recording import Recording, load, names, open_metrics
from tools.system_programs import find, how_to_install

__all__ = ["DEPLOY", "Pages", "ServiceError", "alertmanager", "export", "main", "prometheus", "replay", "to_now"]

ROOT = Path(__file__).resolve().parent.parent
DEPLOY = ROOT / "deploy"
EXPORTS = ROOT / "build" / "recordings"
SCRAPED = "127.0.0.1:8000"

Config = dict[str, Any]


class ServiceError(RuntimeError):
    """A service is missing, did not start, or refused what it was given. The message is one sentence for people."""


class Pages:
    """A webhook that keeps what Alertmanager sends; it listens while its `with` block runs. Thread-safe."""

    def __init__(self, on_page: Callable[[dict[str, Any]], None] | None = None) -> None:
        self._on_page = on_page
        self._pages: list[dict[str, Any]] = []
        self._arrived = threading.Condition()

    def __enter__(self) -> Pages:
        keep = self._keep

        class Receiver(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                page = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))))
                self.send_response(200)
                self.send_header("Content-Length", "0")
                self.end_headers()
                keep(page)

            def log_message(self, format: str, *arguments: Any) -> None:
                """Say nothing: the pages are what counts."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name="webhook", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}/"

    def wait_for(self, wanted: Callable[[dict[str, Any]], bool], seconds: float) -> dict[str, Any]:
        """The first alert, of all pages so far and to come, that is `wanted`: a dict with status, labels, annotations,
        startsAt, endsAt. Raises TimeoutError after `seconds`."""

        def match() -> dict[str, Any] | None:
            return next((alert for page in self._pages for alert in page["alerts"] if wanted(alert)), None)

        with self._arrived:
            alert = self._arrived.wait_for(match, seconds)
            if alert is None:
                raise TimeoutError(f"No such alert in {seconds:g} s; {len(self._pages)} pages came: {self._pages}")
            return alert

    def _keep(self, page: dict[str, Any]) -> None:
        with self._arrived:
            self._pages.append(page)
            self._arrived.notify_all()
        if self._on_page is not None:
            self._on_page(page)


@contextlib.contextmanager
def prometheus(config: Config, folder: Path, *, seconds: float = 30.0) -> Iterator[str]:
    """Prometheus with `config`, its data in `folder`/data; yields its URL when it is ready. `POST /-/reload` reads
    `folder`/prometheus.yml again."""
    file = _write(folder / "prometheus.yml", config)
    arguments = [
        f"--config.file={file}",
        f"--storage.tsdb.path={folder / 'data'}",
        "--storage.tsdb.retention.time=100y",
    ]
    with _running("prometheus", [*arguments, "--web.enable-lifecycle"], folder, seconds) as url:
        yield url


@contextlib.contextmanager
def alertmanager(config: Config, folder: Path, *, seconds: float = 30.0) -> Iterator[str]:
    """Alertmanager with `config`, alone and without a cluster; yields its URL when it is ready."""
    file = _write(folder / "alertmanager.yml", config)
    arguments = [f"--config.file={file}", f"--storage.path={folder / 'alerts'}", "--cluster.listen-address="]
    with _running("alertmanager", arguments, folder, seconds) as url:
        yield url


def replay(recording: Recording, folder: Path, *, shift: float = 0.0) -> None:
    """Put the recording, `shift` seconds later, into the data of a Prometheus that is still to start in `folder`."""
    text = export(recording, folder, shift=shift)
    try:
        command = [
            _program("promtool"),
            "tsdb",
            "create-blocks-from",
            "openmetrics",
            "-q",
            str(text),
            str(folder / "data"),
        ]
        done = subprocess.run(command, capture_output=True, text=True)
    finally:
        text.unlink()
    if done.returncode:
        raise ServiceError(f"promtool refused the recording {recording.name}: {_last_line(done.stderr)}")


def export(recording: Recording, folder: Path, *, shift: float = 0.0) -> Path:
    """The recording as OpenMetrics text in a file of `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    text = folder / f"{recording.name}.om"
    with text.open("w", encoding="utf-8") as out:
        out.writelines(f"{line}\n" for line in open_metrics(recording, shift=shift))
    return text


def to_now(recording: Recording, now: float) -> float:
    """The shift in seconds, whole intervals, after which the recording ends just before `now` (unix seconds)."""
    return (now - float(recording.times[-1])) // recording.interval * recording.interval


def course_prometheus(alertmanager_url: str | None) -> Config:
    """The configuration in deploy/, with this machine's addresses instead of the containers'."""
    config = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())
    config["rule_files"] = [str(DEPLOY / "prometheus" / pattern) for pattern in config["rule_files"]]
    config["scrape_configs"][0]["static_configs"][0]["targets"] = [SCRAPED]
    config["alerting"]["alertmanagers"] = []
    if alertmanager_url is not None:
        address = alertmanager_url.removeprefix("http://")
        config["alerting"]["alertmanagers"] = [{"static_configs": [{"targets": [address]}]}]
    return config


def course_alertmanager(webhook: str) -> Config:
    """The configuration in deploy/, with every receiver sending to `webhook`."""
    config = yaml.safe_load((DEPLOY / "alertmanager" / "alertmanager.yml").read_text())
    for receiver in config["receivers"]:
        receiver["webhook_configs"] = [{"url": webhook, "send_resolved": True}]
    return config


def main(arguments: list[str] | None = None) -> int:
    """Start what is installed, until Ctrl-C."""
    parser = argparse.ArgumentParser(prog="python -m tools.services", description=main.__doc__)
    parser.add_argument("--replay", metavar="NAME", help="put this recording into Prometheus, ending now")
    parser.add_argument(
        "--export", metavar="NAME", help="write this recording, ending now, for deploy/compose.yml; start nothing"
    )
    chosen = parser.parse_args(arguments)
    for name in filter(None, [chosen.replay, chosen.export]):
        if name not in names():
            parser.error(f"there is no recording {name!r}; there are {', '.join(names())}")
    handler = signal.signal(signal.SIGTERM, _stop)
    try:
        if chosen.export:
            recording = load(chosen.export)
            shift = to_now(recording, time.time())
            print(f"{export(recording, EXPORTS, shift=shift)}: {_when(recording, shift)}")
            return 0
        _serve(chosen.replay)
    except KeyboardInterrupt:
        print("Stopped.")
    except ServiceError as error:
        print(error, file=sys.stderr)
        return 1
    finally:
        signal.signal(signal.SIGTERM, handler)
    return 0


def _serve(recording_name: str | None) -> None:
    missing = [name for name in ("prometheus", "alertmanager") if find(name) is None]
    for name in missing:
        print(f"{name.capitalize()} is missing, so it is not started: {how_to_install(name)}")
    if len(missing) == 2:
        raise ServiceError("Neither Prometheus nor Alertmanager is installed, so there is nothing to start.")
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="course-services-")))
        manager = None
        if "alertmanager" not in missing:
            pages = stack.enter_context(Pages(_print_page))
            manager = stack.enter_context(alertmanager(course_alertmanager(pages.url), folder / "alertmanager"))
            print(f"Alertmanager  {manager}  (its pages are printed here)", flush=True)
        if "prometheus" not in missing:
            home = folder / "prometheus"
            if recording_name:
                recording = load(recording_name)
                shift = to_now(recording, time.time())
                print(f"Replaying {recording_name}: {_when(recording, shift)}", flush=True)
                replay(recording, home, shift=shift)
            url = stack.enter_context(prometheus(course_prometheus(manager), home))
            print(f"Prometheus    {url}  (scrapes http://{SCRAPED}/metrics)")
        print(
            "Grafana and Jaeger come by `docker compose -f deploy/compose.yml up`. Ctrl-C stops everything.", flush=True
        )
        threading.Event().wait()


def _print_page(page: dict[str, Any]) -> None:
    for alert in page["alerts"]:
        labels = ", ".join(f"{name}={text}" for name, text in sorted(alert["labels"].items()) if name != "alertname")
        print(f"[{page['receiver']}] {alert['status']}: {alert['labels'].get('alertname')} ({labels})", flush=True)


def _when(recording: Recording, shift: float) -> str:
    def at(moment: float) -> str:
        return datetime.fromtimestamp(moment + shift).strftime("%d %b %H:%M")

    spans = f"{recording.title}, {at(recording.times[0])} to {at(recording.times[-1])}"
    if recording.onset is None or recording.recovery is None:
        return f"{spans}."
    return f"{spans}; it begins at {at(recording.onset)} and ends at {at(recording.recovery)}."


def _stop(*_: object) -> NoReturn:
    raise KeyboardInterrupt


def _program(name: str) -> str:
    path = find(name)
    if path is None:
        raise ServiceError(f"{name} is missing: {how_to_install(name)}")
    return str(path)


def _write(file: Path, config: Config) -> Path:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(yaml.safe_dump(config, sort_keys=False))
    return file


@contextlib.contextmanager
def _running(name: str, arguments: list[str], folder: Path, seconds: float) -> Iterator[str]:
    """The program on a free port, from ready to stopped; what it says goes to `folder`/<name>.log."""
    log = folder / f"{name}.log"
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    command = [_program(name), *arguments, f"--web.listen-address={address}"]
    with log.open("w") as out:
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + seconds
        while not _ready(f"http://{address}/-/ready"):
            if process.poll() is not None:
                raise ServiceError(f"{name.capitalize()} did not start: {_last_line(log.read_text())}")
            if time.monotonic() > deadline:
                raise ServiceError(
                    f"{name.capitalize()} was not ready within {seconds:g} s: {_last_line(log.read_text())}"
                )
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(0.05)
        yield f"http://{address}"
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return answer.status == 200
    except OSError:
        return False


def _last_line(text: str) -> str:
    return (text.strip().splitlines() or ["it said nothing"])[-1]


if __name__ == "__main__":
    sys.exit(main())
