"""What `deploy/` holds is well-formed: pinned images, ports on this machine only, existing files, valid configuration.

No container runs here: whether the images start is seen with docker compose.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tools.services import DEPLOY, EXPORTS
from tools.system_programs import find

COMPOSE = yaml.safe_load((DEPLOY / "compose.yml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
SERVERS = {"prometheus", "alertmanager", "grafana", "jaeger", "loki"}


def mounts() -> list[tuple[str, str, str]]:
    """(service, source, mode) of every mount."""
    found = []
    for name, service in SERVICES.items():
        for volume in service.get("volumes", []):
            source, _, *mode = volume.split(":")
            found.append((name, source, *(mode or ["rw"])))
    return found


def test_all_servers_are_there() -> None:
    assert set(SERVICES) == SERVERS | {"replay"}


@pytest.mark.parametrize("name", SERVICES)
def test_an_image_is_pinned_to_a_version(name: str) -> None:
    _, _, tag = SERVICES[name]["image"].partition(":")
    assert tag.lstrip("v")[:1].isdigit() and "." in tag


@pytest.mark.parametrize("name", sorted(SERVERS))
def test_a_server_is_asked_for_its_health(name: str) -> None:
    assert SERVICES[name]["healthcheck"]["test"][0] == "CMD"


@pytest.mark.parametrize("name", sorted(SERVERS))
def test_ports_are_open_to_this_machine_only(name: str) -> None:
    assert SERVICES[name]["ports"]
    assert all(port.startswith("127.0.0.1:") for port in SERVICES[name]["ports"])


@pytest.mark.parametrize(("name", "source", "mode"), mounts())
def test_a_mounted_path_exists_and_is_read_only(name: str, source: str, mode: str) -> None:
    if not source.startswith("."):
        assert source in COMPOSE["volumes"]
    else:
        assert mode == "ro"
        path = (DEPLOY / source).resolve()
        assert path.is_dir() or path == EXPORTS


def test_one_service_waits_only_for_services_that_exist() -> None:
    assert {other for service in SERVICES.values() for other in service.get("depends_on", {})} <= set(SERVICES)


def test_grafana_knows_the_data_sources_by_the_uids_of_the_dashboard() -> None:
    file = DEPLOY / "grafana" / "provisioning" / "datasources" / "datasources.yml"
    sources = {one["uid"]: one for one in yaml.safe_load(file.read_text())["datasources"]}
    assert {"prometheus", "loki"} <= set(sources)
    for uid, source in sources.items():
        host, _, port = source["url"].removeprefix("http://").partition(":")
        assert host == uid and source["type"] == uid
        assert any(published.endswith(f":{port}") for published in SERVICES[host]["ports"])


def test_grafana_reads_dashboards_where_they_are_mounted() -> None:
    file = DEPLOY / "grafana" / "provisioning" / "dashboards" / "dashboards.yml"
    (provider,) = yaml.safe_load(file.read_text())["providers"]
    assert f"./grafana/dashboards:{provider['options']['path']}:ro" in SERVICES["grafana"]["volumes"]


def test_the_dashboards_are_json() -> None:
    for file in (DEPLOY / "grafana" / "dashboards").glob("*.json"):
        assert json.loads(file.read_text())["panels"], file.name


@pytest.mark.needs("promtool")
def test_prometheus_accepts_its_configuration_and_rules() -> None:
    file = DEPLOY / "prometheus" / "prometheus.yml"
    done = subprocess.run([str(find("promtool")), "check", "config", str(file)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = len(list(file.parent.glob("rules*.yml")))
    assert found == 0 or f"{found} rule files found" in done.stdout


@pytest.mark.needs("alertmanager")
def test_alertmanager_accepts_its_configuration() -> None:
    amtool = find("alertmanager").with_name("amtool")  # type: ignore[union-attr]
    if not amtool.exists():
        pytest.skip(f"amtool is not beside {amtool.parent}/alertmanager")
    file = DEPLOY / "alertmanager" / "alertmanager.yml"
    done = subprocess.run([str(amtool), "check-config", str(file)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.needs("promtool")
def test_the_replay_command_loads_what_was_exported(tmp_path: Path) -> None:
    (tmp_path / "one.om").write_text('# TYPE up gauge\nup{job="a"} 1.0 1772492400.000\n# EOF\n')
    (command,) = SERVICES["replay"]["command"]
    script = (
        command.replace("$$", "$").replace("/recordings", str(tmp_path)).replace("/prometheus", str(tmp_path / "data"))
    )
    path = f"{find('promtool').parent}:/usr/bin:/bin"  # type: ignore[union-attr]
    done = subprocess.run(["/bin/sh", "-ec", script], env={"PATH": path}, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "data").glob("*/meta.json"))) == 1
