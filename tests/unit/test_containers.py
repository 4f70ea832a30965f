"""What `--stack containers` says where it cannot run, and which images it asks for."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.containers import IMAGES, image_of
from worker.devstack.servers.process import free_port

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_without_docker_the_session_ends_with_one_message() -> None:
    nobody = f"tcp://127.0.0.1:{free_port()}"
    finished = subprocess.run(  # noqa: S603 - our own interpreter on our own tests
        [sys.executable, "-m", "pytest", "--stack", "containers", "-p", "no:cacheprovider", __file__],
        cwd=ROOT,
        env={**os.environ, "DOCKER_HOST": nobody},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert finished.returncode == pytest.ExitCode.USAGE_ERROR, finished.stdout + finished.stderr
    assert "ERROR: --stack containers: Docker does not answer" in finished.stderr
    assert "Traceback" not in finished.stderr


def test_the_default_images_are_those_of_the_compose_file() -> None:
    compose = (ROOT / "docker-compose.yml").read_text(encoding="utf-8")
    assert IMAGES
    for image in IMAGES.values():
        assert f"image: {image}\n" in compose


def test_an_image_is_named_by_its_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SEVENP_TEST_MONGODB_IMAGE", "mine:1")
    assert image_of("SEVENP_TEST_MONGODB_IMAGE") == "mine:1"
