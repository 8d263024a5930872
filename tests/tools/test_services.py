"""`make services` starts what is installed with the course's configuration, says what is missing, stops all of it."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from shared.observability.recording import load
from tools import services
from tools.services import DEPLOY, ROOT, Pages, ServiceError, alertmanager, export, main, replay, to_now


def post(url: str, page: dict[str, Any]) -> None:
    with urllib.request.urlopen(urllib.request.Request(url, json.dumps(page).encode()), timeout=10):
        pass


@pytest.fixture
def nothing_installed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))


def test_without_any_server_it_says_how_to_get_them(
    nothing_installed: None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([]) == 1
    out, err = capsys.readouterr()
    assert "Prometheus is missing, so it is not started: " in out and "Alertmanager is missing" in out
    assert err == "Neither Prometheus nor Alertmanager is installed, so there is nothing to start.\n"


def test_without_promtool_a_replay_says_how_to_get_it(nothing_installed: None, tmp_path: Path) -> None:
    with pytest.raises(ServiceError, match="promtool is missing: "):
        replay(load("healthy"), tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("option", ["--replay", "--export"])
def test_an_unknown_recording_is_refused(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([option, "helthy"])
    assert "there is no recording 'helthy'; there are above-thresholds, " in capsys.readouterr().err


def test_a_recording_is_moved_by_whole_intervals_to_end_now() -> None:
    recording = load("healthy")
    shift = to_now(recording, recording.times[-1] + 1000)
    assert shift == 990
    assert to_now(recording, recording.times[-1] + 990) == 990


def test_an_export_lies_where_the_containers_read_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (DEPLOY / "../build/recordings").resolve() == services.EXPORTS
    monkeypatch.setattr(services, "EXPORTS", tmp_path / "new")
    assert main(["--export", "zero-traffic"]) == 0
    text = (tmp_path / "new" / "zero-traffic.om").read_text()
    assert text.startswith("# TYPE request_duration_seconds histogram\n") and text.endswith("# EOF\n")
    assert "All clients go away" in capsys.readouterr().out


def test_the_incident_of_a_replay_is_told_in_local_time(tmp_path: Path) -> None:
    recording = load("errors-20")
    words = services._when(recording, 0.0)
    assert words.startswith("20 % of the requests fail, ") and "; it begins at " in words and " and ends at " in words
    assert export(recording, tmp_path).name == "errors-20.om"


def test_the_courses_configuration_is_used_with_local_addresses() -> None:
    config = services.course_prometheus("http://127.0.0.1:9093")
    assert config["alerting"]["alertmanagers"] == [{"static_configs": [{"targets": ["127.0.0.1:9093"]}]}]
    assert config["scrape_configs"][0]["static_configs"] == [{"targets": ["127.0.0.1:8000"]}]
    assert config["rule_files"] == [str(DEPLOY / "prometheus" / "rules*.yml")]
    assert services.course_prometheus(None)["alerting"]["alertmanagers"] == []
    receivers = services.course_alertmanager("http://127.0.0.1:1/")["receivers"]
    assert {one["webhook_configs"][0]["url"] for one in receivers} == {"http://127.0.0.1:1/"}


@pytest.fixture
def pages() -> Iterator[Pages]:
    with Pages() as pages:
        yield pages


FIRING = {"status": "firing", "labels": {"alertname": "Slow"}}


def test_a_page_is_found_whether_it_came_before_or_after(pages: Pages) -> None:
    post(pages.url, {"receiver": "page", "alerts": [FIRING]})
    assert pages.wait_for(lambda alert: alert["status"] == "firing", 10) == FIRING
    resolved = {**FIRING, "status": "resolved"}
    late = threading.Thread(target=post, args=(pages.url, {"receiver": "page", "alerts": [resolved]}))
    late.start()
    assert pages.wait_for(lambda alert: alert["status"] == "resolved", 10) == resolved
    late.join()


def test_a_page_that_does_not_come_is_told(pages: Pages) -> None:
    with pytest.raises(TimeoutError, match="0 pages came"):
        pages.wait_for(lambda alert: True, 0)


def test_the_webhook_listens_on_this_machine_only_and_stops(pages: Pages) -> None:
    assert pages.url.startswith("http://127.0.0.1:")
    with Pages() as other:
        thread = other._thread
    assert not thread.is_alive()


@pytest.mark.needs("alertmanager")
def test_a_server_that_refuses_its_configuration_is_told_in_one_sentence(tmp_path: Path) -> None:
    with (
        pytest.raises(ServiceError, match="Alertmanager did not start: ") as refusal,
        alertmanager({"route": 3}, tmp_path),
    ):
        pass
    assert "\n" not in str(refusal.value)


@pytest.mark.needs("prometheus", "promtool", "alertmanager")
@pytest.mark.parametrize("signal_number", [signal.SIGINT, signal.SIGTERM])
def test_the_command_starts_both_and_stops_them_at_a_signal(signal_number: signal.Signals) -> None:
    command = [sys.executable, "-u", "-m", "tools.services"]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        assert process.stdout is not None
        urls = {}
        try:
            for line in process.stdout:
                if line.startswith(("Prometheus", "Alertmanager")):
                    name, url, *_ = line.split()
                    urls[name] = url
                if "Ctrl-C" in line:
                    break
            assert set(urls) == {"Prometheus", "Alertmanager"}
            for url in urls.values():
                assert url.startswith("http://127.0.0.1:")
                with urllib.request.urlopen(f"{url}/-/ready", timeout=10) as answer:
                    assert answer.status == 200
        finally:
            process.send_signal(signal_number)
            rest = process.stdout.read()
        assert (rest, process.wait(20)) == ("Stopped.\n", 0)
    for url in urls.values():
        with pytest.raises(OSError):
            urllib.request.urlopen(f"{url}/-/ready", timeout=10)
