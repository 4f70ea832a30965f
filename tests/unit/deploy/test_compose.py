"""What `docker compose` would make of docker-compose.yml, as far as the file itself says: Docker is not asked."""

import re
from collections.abc import Mapping
from typing import Any

import pytest
import typer
import yaml

from tests.unit.deploy.rules import FOLDER, ROOT
from worker.cli.commands import app
from worker.settings import Settings, load_settings, variable

COMPOSE: Mapping[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
SERVICES: Mapping[str, Mapping[str, Any]] = COMPOSE["services"]
OURS = [name for name, service in SERVICES.items() if service["image"] == "sevenp-worker"]
# What the file uses of the Compose specification: a key that is misspelt is none of these.
KEYS = {
    "build",
    "command",
    "depends_on",
    "environment",
    "healthcheck",
    "image",
    "ports",
    "profiles",
    "restart",
    "stop_grace_period",
    "volumes",
}
CONDITIONS = {"service_started", "service_healthy", "service_completed_successfully"}


def settings_of(service: str, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """As the worker in this service would read them. Raises `Misconfigured` for what it would not take."""
    for name, value in SERVICES[service].get("environment", {}).items():
        monkeypatch.setenv(name, value)
    return load_settings()


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_is_written_in_the_words_of_compose(name: str) -> None:
    service = SERVICES[name]
    assert service.keys() <= KEYS
    assert re.fullmatch(r"[a-z0-9./_-]+(:[a-z0-9._-]+)?", service["image"])
    assert set(service.get("healthcheck", {})) <= {"test", "interval", "timeout", "retries"}
    # Compose takes no other type for a variable's value than text, a number or null; a boolean is refused.
    assert all(isinstance(value, str) for value in service.get("environment", {}).values())
    for port in service.get("ports", []):
        assert re.fullmatch(r"127\.0\.0\.1:\d+:\d+", port), "reachable from this machine only"


@pytest.mark.parametrize("name", SERVICES)
def test_what_a_service_waits_for_is_there_and_can_come_to_that_state(name: str) -> None:
    for other, how in SERVICES[name].get("depends_on", {}).items():
        assert how["condition"] in CONDITIONS
        assert how["condition"] != "service_healthy" or "healthcheck" in SERVICES[other]
        assert how["condition"] != "service_completed_successfully" or "restart" not in SERVICES[other]
        # Whoever is started without the profile would wait for a service that is not.
        assert set(SERVICES[other].get("profiles", [])) <= set(SERVICES[name].get("profiles", []))


def test_every_volume_is_declared_and_used() -> None:
    mounted = {volume.split(":")[0] for service in SERVICES.values() for volume in service.get("volumes", [])}
    assert {each for each in mounted if not each.startswith("./")} == set(COMPOSE["volumes"])
    assert all((ROOT / each).exists() for each in mounted if each.startswith("./"))


@pytest.mark.parametrize("name", OURS)
def test_our_services_run_a_command_that_there_is_with_settings_that_it_takes(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    command: Any = typer.main.get_command(app)
    for word in SERVICES[name]["command"]:
        command = command.commands[word]
    assert not hasattr(command, "commands"), "a whole command"
    settings_of(name, monkeypatch)


def test_the_topics_are_made_as_one_broker_can_have_them(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = settings_of("topic", monkeypatch)
    assert settings.topics.replication == 1
    assert set(settings.ingest.topics) == set(settings_of("worker", monkeypatch).ingest.topics)


def test_a_worker_that_drains_is_not_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    granted = re.fullmatch(r"(\d+)s", SERVICES["worker"]["stop_grace_period"])
    assert granted is not None
    assert int(granted[1]) > settings_of("worker", monkeypatch).role.drain_deadline_s


def test_prometheus_asks_the_worker_where_it_answers_and_finds_all_rules(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    read = yaml.safe_load((FOLDER / "prometheus-compose.yml").read_text(encoding="utf-8"))
    [scrape] = read["scrape_configs"]
    port = settings_of("worker", monkeypatch).process.http_port
    assert scrape["static_configs"] == [{"targets": [f"worker:{port}"]}]
    assert f"127.0.0.1:{port}:{port}" in SERVICES["worker"]["ports"]
    mounts = dict(volume.split(":")[1::-1] for volume in SERVICES["prometheus"]["volumes"])
    assert mounts["/etc/prometheus/prometheus.yml"] == "./deploy/prometheus/prometheus-compose.yml"
    assert read["rule_files"] == ["rules/*.yaml"]
    assert mounts["/etc/prometheus/rules"] == "./deploy/prometheus/rules"
    assert variable("http_port") == "SEVENP_HTTP_PORT"
