"""Grafana finds its data source and its dashboards where compose puts them."""

from pathlib import Path
from typing import Any

import yaml

from dashboards.catalogue import FOLDER, ROOT
from dashboards.grafana import RUNBOOK

PROVISIONING = ROOT / "deploy" / "grafana" / "provisioning"


def _read(path: Path) -> Any:
    return yaml.safe_load(path.read_text(encoding="utf-8"))


def _mounts(service: str) -> dict[str, str]:
    """What of the repository lies where in the container."""
    volumes = _read(ROOT / "docker-compose.yml")["services"][service]["volumes"]
    return {
        parts[1]: parts[0] for parts in (volume.split(":") for volume in volumes) if parts[0].startswith("./")
    }


def test_the_dashboards_are_read_where_they_lie() -> None:
    [provider] = _read(PROVISIONING / "dashboards" / "sevenp-worker.yaml")["providers"]
    mounted = _mounts("grafana")[provider["options"]["path"]]
    assert (ROOT / mounted).resolve() == FOLDER
    assert provider["allowUiUpdates"] is False


def test_the_data_source_is_the_prometheus_beside_it() -> None:
    [source] = _read(PROVISIONING / "datasources" / "prometheus.yaml")["datasources"]
    services = _read(ROOT / "docker-compose.yml")["services"]
    assert source["type"] == "prometheus"
    assert source["url"] == "http://prometheus:9090"
    assert "prometheus" in services
    scraped = _read(ROOT / "deploy" / "prometheus" / "prometheus-compose.yml")["global"]["scrape_interval"]
    assert source["jsonData"]["timeInterval"] == scraped


def test_everything_that_is_mounted_is_there_and_the_runbook_lies_behind_its_link() -> None:
    for service in ("prometheus", "grafana"):
        mounts = _mounts(service)
        assert mounts
        for path in mounts.values():
            assert (ROOT / path).exists(), path
    folder, _, name = RUNBOOK.removeprefix("/public/").partition("/")
    assert name == "runbook.md"
    assert _mounts("grafana")[f"/usr/share/grafana/public/{folder}"] == "./docs"


def test_who_only_wants_the_worker_starts_neither() -> None:
    services = _read(ROOT / "docker-compose.yml")["services"]
    assert {name for name, service in services.items() if service.get("profiles")} == {
        "prometheus",
        "grafana",
    }
    assert services["prometheus"]["profiles"] == services["grafana"]["profiles"] == ["monitoring"]
