"""What of somebody's settings the demo goes by: what it does not, it says."""

import os

import pytest

from worker.cli.demo import _with_settings
from worker.devstack.demo.options import DemoOptions
from worker.settings import load_settings


@pytest.fixture(autouse=True)
def _some_are_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("SEVENP_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("SEVENP_MONGODB_URI", "mongodb://127.0.0.1/?replicaSet=rs0")
    monkeypatch.setenv("SEVENP_TOPIC", "events")
    monkeypatch.setenv("SEVENP_CANARY_ENABLED", "true")
    monkeypatch.setenv("SEVENP_ROLES", "ingest")


def test_settings_that_the_demos_worker_does_not_get_are_named() -> None:
    found = _with_settings(DemoOptions(), load_settings())

    assert found.unheeded == ("SEVENP_CANARY_ENABLED", "SEVENP_ROLES")
    assert set(found.server_settings) == {"SEVENP_MONGODB_URI"}


def test_a_topic_that_is_turned_off_is_heeded_and_none_of_the_platform_is_played(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SEVENP_BILLING_TOPIC", "none")
    found = _with_settings(DemoOptions(), load_settings())

    assert not found.plays_platform
    assert "SEVENP_BILLING_TOPIC" not in found.unheeded


def test_as_configured_all_are_heeded_but_what_the_demo_decides_itself() -> None:
    assert _with_settings(DemoOptions(as_configured=True), load_settings()).unheeded == ("SEVENP_ROLES",)
